#!/bin/sh
# A certification authority for tests and the demo: root, mail CA, one certificate for each address, and CRLs.
# Shaped like the government's (root, sub-CA, leaf), valid for ten years from now, never to be trusted for real mail.
#
#   make-test-ca.sh DIR ADDRESS...
#
# Writes DIR/root.pem (the anchor), DIR/mail-ca.pem, DIR/ADDRESS.pem (leaf, then mail CA), DIR/ADDRESS.key.
# A second run with the same DIR keeps the CA and adds addresses. Environment:
#   KEY     key of the leaves: rsa:2048 (default), rsa:1024, ec:P-256, ec:P-384
#   REVOKE  an address whose certificate is revoked; DIR/crl.pem and DIR/root-crl.pem are written anew
#   EXT     further extension lines for the leaves, as openssl.cnf wants them
set -eu
umask 077

[ $# -ge 1 ] || { echo "usage: make-test-ca.sh DIR ADDRESS..." >&2; exit 2; }
dir=$1
shift
mkdir -p "$dir"
cd "$dir"

if [ ! -f ca.cnf ]; then
	cat >ca.cnf <<-'CNF'
	[ca]
	default_ca = mail
	[mail]
	database = index.txt
	serial = serial
	crlnumber = crlnumber
	new_certs_dir = .
	certificate = mail-ca.pem
	private_key = mail-ca.key
	default_md = sha256
	default_days = 3650
	default_crl_days = 30
	policy = any
	unique_subject = no
	[root]
	database = root-index.txt
	crlnumber = root-crlnumber
	certificate = root.pem
	private_key = root.key
	default_md = sha256
	default_crl_days = 30
	[any]
	commonName = supplied
	organizationName = optional
	[req]
	distinguished_name = dn
	[dn]
	[v3_root]
	basicConstraints = critical, CA:TRUE
	keyUsage = critical, keyCertSign, cRLSign
	subjectKeyIdentifier = hash
	[v3_ca]
	basicConstraints = critical, CA:TRUE, pathlen:0
	keyUsage = critical, keyCertSign, cRLSign
	subjectKeyIdentifier = hash
	authorityKeyIdentifier = keyid
	CNF
	: >index.txt
	: >root-index.txt
	echo 1000 >serial
	echo 01 >crlnumber
	echo 01 >root-crlnumber
	openssl req -x509 -config ca.cnf -extensions v3_root -newkey rsa:2048 -nodes -sha256 -days 3650 \
		-subj "/O=Luy Tre test/CN=Test root" -keyout root.key -out root.pem 2>/dev/null
	openssl req -config ca.cnf -newkey rsa:2048 -nodes -sha256 \
		-subj "/O=Luy Tre test/CN=Test mail CA" -keyout mail-ca.key -out mail-ca.csr 2>/dev/null
	openssl x509 -req -in mail-ca.csr -CA root.pem -CAkey root.key -CAcreateserial -sha256 -days 3650 \
		-extfile ca.cnf -extensions v3_ca -out mail-ca.pem 2>/dev/null
fi

case ${KEY:-rsa:2048} in
rsa:*) new="-newkey ${KEY:-rsa:2048}" ;;
ec:*) new="-newkey ec -pkeyopt ec_paramgen_curve:${KEY#ec:}" ;;
*) echo "make-test-ca.sh: KEY=$KEY is not known" >&2; exit 2 ;;
esac

for address in "$@"; do
	cat >leaf.cnf <<-CNF
	[leaf]
	basicConstraints = critical, CA:FALSE
	keyUsage = critical, digitalSignature
	extendedKeyUsage = emailProtection
	subjectAltName = email:$address
	subjectKeyIdentifier = hash
	authorityKeyIdentifier = keyid
	${EXT:-}
	CNF
	# shellcheck disable=SC2086 # $new is several words on purpose
	openssl req -config ca.cnf $new -nodes -subj "/O=Luy Tre test/CN=$address" \
		-keyout "$address.key" -out leaf.csr 2>/dev/null
	openssl ca -batch -notext -config ca.cnf -in leaf.csr -extfile leaf.cnf -extensions leaf \
		-out leaf.pem 2>/dev/null
	cat leaf.pem mail-ca.pem >"$address.pem"
	rm -f leaf.cnf leaf.csr leaf.pem
done

if [ -n "${REVOKE:-}" ]; then
	openssl ca -config ca.cnf -revoke "$REVOKE.pem" 2>/dev/null
	openssl ca -config ca.cnf -gencrl -out crl.pem 2>/dev/null
	openssl ca -config ca.cnf -name root -gencrl -out root-crl.pem 2>/dev/null
fi

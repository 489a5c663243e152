//! Reading CMS with libcrypto: the few functions that the `openssl` crate does not expose.
//!
//! This is the only file of the room with `unsafe`. It owns no memory: every object belongs to an `openssl` crate
//! wrapper (`CmsContentInfo`, `X509`, `Stack`), and what libcrypto lends (`get0`) is copied or up-referenced before
//! the borrow ends. Nothing here judges; it says which SignerInfo verifies over which bytes with which certificate
//! (RFC 5652 §5). Chains, dates, names and floors are the neighbours' work (THREATS T13).

#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::ptr;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::cms::CmsContentInfo;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::verify::X509VerifyParamRef;
use openssl::x509::{X509, X509Crl, X509Ref, X509StoreContextRef, X509VerifyResult};
use openssl_sys as ffi;

/// More SignerInfos than this is no mail anybody sends; each costs a public-key operation.
pub const MAX_SIGNERS: usize = 16;

/// An opaque `CMS_SignerInfo`.
#[repr(C)]
struct SignerInfo {
    _private: [u8; 0],
}

// SAFETY: the declarations are those of OpenSSL 3's <openssl/cms.h> and <openssl/x509_vfy.h>.
unsafe extern "C" {
    fn CMS_get0_type(cms: *const ffi::CMS_ContentInfo) -> *const ffi::ASN1_OBJECT;
    fn CMS_get0_content(cms: *mut ffi::CMS_ContentInfo) -> *mut *mut ffi::ASN1_OCTET_STRING;
    fn CMS_get0_SignerInfos(cms: *mut ffi::CMS_ContentInfo) -> *mut ffi::OPENSSL_STACK;
    fn CMS_get1_certs(cms: *mut ffi::CMS_ContentInfo) -> *mut ffi::stack_st_X509;
    fn CMS_set1_signers_certs(cms: *mut ffi::CMS_ContentInfo, certs: *mut ffi::stack_st_X509, flags: c_uint) -> c_int;
    fn CMS_SignerInfo_get0_algs(
        si: *mut SignerInfo,
        key: *mut *mut ffi::EVP_PKEY,
        signer: *mut *mut ffi::X509,
        digest: *mut *mut ffi::X509_ALGOR,
        signature: *mut *mut ffi::X509_ALGOR,
    );
    fn CMS_signed_get_attr_count(si: *const SignerInfo) -> c_int;
    fn CMS_SignerInfo_verify(si: *mut SignerInfo) -> c_int;
    fn CMS_SignerInfo_verify_content(si: *mut SignerInfo, bio: *mut ffi::BIO) -> c_int;
    fn CMS_dataInit(cms: *mut ffi::CMS_ContentInfo, content: *mut ffi::BIO) -> *mut ffi::BIO;
    fn X509_STORE_CTX_set0_crls(context: *mut ffi::X509_STORE_CTX, crls: *mut ffi::OPENSSL_STACK);
    fn X509_STORE_CTX_set_time(context: *mut ffi::X509_STORE_CTX, flags: c_ulong, time: i64);
    fn X509_VERIFY_PARAM_add0_policy(param: *mut ffi::X509_VERIFY_PARAM, policy: *mut ffi::ASN1_OBJECT) -> c_int;
    fn OBJ_nid2obj(nid: c_int) -> *mut ffi::ASN1_OBJECT;
}

/// What a ContentInfo holds (RFC 5652 §4, RFC 5083, RFC 3274).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Signed,
    /// EnvelopedData, AuthEnvelopedData, EncryptedData: not to be seen without a key.
    Encrypted,
    Compressed,
    Other,
}

/// One SignerInfo after its arithmetic was done.
pub struct Checked {
    /// The certificate that the SignerInfo names, when it was found.
    pub certificate: Option<X509>,
    /// The digest algorithm; OpenSSL hashes with it whatever the signature algorithm's own name says.
    pub digest: Nid,
    /// The signature over the signed attributes verifies, and the content has the digest they state.
    pub intact: bool,
}

/// A parsed ContentInfo.
pub struct Cms(CmsContentInfo);

impl Cms {
    /// BER or DER; `None` when it is neither.
    pub fn parse(der: &[u8]) -> Option<Self> {
        CmsContentInfo::from_der(der).ok().map(Self)
    }

    pub fn kind(&self) -> Kind {
        // SAFETY: the pointer is valid while `self.0` lives; OBJ_obj2nid reads the lent object only here.
        let nid = unsafe { ffi::OBJ_obj2nid(CMS_get0_type(self.0.as_ptr())) };
        match Nid::from_raw(nid) {
            Nid::PKCS7_SIGNED => Kind::Signed,
            Nid::PKCS7_ENVELOPED | Nid::PKCS7_ENCRYPTED | AUTH_ENVELOPED => Kind::Encrypted,
            COMPRESSED => Kind::Compressed,
            _ => Kind::Other,
        }
    }

    /// The embedded content (eContent), when there is one.
    pub fn content(&self) -> Option<Vec<u8>> {
        // SAFETY: CMS_get0_content lends a pointer into the structure (null for types without content); data and
        // length are read and copied before anything can change it.
        unsafe {
            let slot = CMS_get0_content(self.0.as_ptr());
            let string = if slot.is_null() { return None } else { *slot };
            if string.is_null() {
                return None;
            }
            let data = ffi::ASN1_STRING_get0_data(string.cast());
            let length = usize::try_from(ffi::ASN1_STRING_length(string.cast())).ok()?;
            if data.is_null() { Some(Vec::new()) } else { Some(std::slice::from_raw_parts(data, length).to_vec()) }
        }
    }

    /// The certificates that came along; never trusted, only used to build chains.
    pub fn certificates(&self) -> Vec<X509> {
        // SAFETY: CMS_get1_certs gives a stack we own with up-referenced certificates, or null when there is none.
        let stack: Stack<X509> = unsafe {
            let stack = CMS_get1_certs(self.0.as_ptr());
            if stack.is_null() {
                return Vec::new();
            }
            Stack::from_ptr(stack)
        };
        stack.into_iter().collect()
    }

    /// Number of SignerInfos.
    pub fn signer_count(&self) -> usize {
        self.signer_infos().len()
    }

    /// Checks every SignerInfo over `content` (detached), or over the embedded content when `None`.
    /// Signers' certificates are sought in the message, then in `pool`. Empty when the content cannot be read.
    pub fn check(&mut self, content: Option<&[u8]>, pool: &[X509]) -> Vec<Checked> {
        let Ok(mut stack) = Stack::new() else { return Vec::new() };
        for certificate in pool {
            if stack.push(certificate.clone()).is_err() {
                return Vec::new();
            }
        }
        // SAFETY: both pointers are valid; the function takes its own references to the certificates it keeps.
        unsafe { CMS_set1_signers_certs(self.0.as_ptr(), stack.as_ptr(), 0) };
        let signers = self.signer_infos();
        let Some(digests) = DigestChain::over(&self.0, content) else {
            return signers.into_iter().map(|si| describe(si, false)).collect();
        };
        let checked = signers
            .into_iter()
            .map(|si| {
                // SAFETY: `si` is lent by `self.0`, which is alive and not changed meanwhile; a certificate is set
                // or the functions return an error.
                let intact = unsafe {
                    let attributes = CMS_signed_get_attr_count(si) >= 0;
                    (!attributes || CMS_SignerInfo_verify(si) == 1) && CMS_SignerInfo_verify_content(si, digests.0) == 1
                };
                describe(si, intact)
            })
            .collect();
        drop(digests);
        ErrorStack::get(); // Nothing of a stranger's message stays in the error queue.
        checked
    }

    fn signer_infos(&self) -> Vec<*mut SignerInfo> {
        // SAFETY: the stack is lent by the structure (null for other types); elements are CMS_SignerInfo pointers
        // that live as long as `self.0`.
        unsafe {
            let stack = CMS_get0_SignerInfos(self.0.as_ptr());
            if stack.is_null() {
                return Vec::new();
            }
            let count = ffi::OPENSSL_sk_num(stack).max(0);
            (0..count).map(|i| ffi::OPENSSL_sk_value(stack, i).cast::<SignerInfo>()).filter(|p| !p.is_null()).collect()
        }
    }
}

const AUTH_ENVELOPED: Nid = Nid::from_raw(1059);
const COMPRESSED: Nid = Nid::from_raw(786);

fn describe(si: *mut SignerInfo, intact: bool) -> Checked {
    let (mut signer, mut digest) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `si` is valid (see `signer_infos`); the function writes lent pointers into our two slots. The
    // certificate is up-referenced by `to_owned` before the structure can go away.
    unsafe {
        CMS_SignerInfo_get0_algs(si, ptr::null_mut(), &raw mut signer, &raw mut digest, ptr::null_mut());
        let certificate = if signer.is_null() { None } else { Some(X509Ref::from_ptr(signer).to_owned()) };
        let mut object = ptr::null();
        if !digest.is_null() {
            ffi::X509_ALGOR_get0(&raw mut object, ptr::null_mut(), ptr::null_mut(), digest);
        }
        let nid = if object.is_null() { 0 } else { ffi::OBJ_obj2nid(object) };
        Checked { certificate, digest: Nid::from_raw(nid), intact }
    }
}

/// A chain of BIOs that has hashed the content with every digest that the message announces.
struct DigestChain(*mut ffi::BIO);

impl DigestChain {
    fn over(cms: &CmsContentInfo, content: Option<&[u8]>) -> Option<Self> {
        // SAFETY: the memory BIO reads `content`, which outlives it (the chain is dropped in `check`, inside the
        // borrow). On success CMS_dataInit owns our BIO as the end of its chain; on failure we free it ourselves.
        unsafe {
            let source = match content {
                Some(bytes) => {
                    let source = ffi::BIO_new_mem_buf(bytes.as_ptr().cast(), c_int::try_from(bytes.len()).ok()?);
                    if source.is_null() {
                        return None;
                    }
                    source
                }
                None => ptr::null_mut(),
            };
            let chain = CMS_dataInit(cms.as_ptr(), source);
            if chain.is_null() {
                if !source.is_null() {
                    ffi::BIO_free_all(source);
                }
                return None;
            }
            let chain = Self(chain);
            let mut buffer = [0_u8; 16 * 1024];
            while ffi::BIO_read(chain.0, buffer.as_mut_ptr().cast::<c_void>(), buffer.len() as c_int) > 0 {}
            Some(chain)
        }
    }
}

impl Drop for DigestChain {
    fn drop(&mut self) {
        // SAFETY: the chain is ours from its head to the memory BIO at its end.
        unsafe { ffi::BIO_free_all(self.0) }
    }
}

/// Verifies the certificate of an initialised context with these CRLs at hand, indirect ones too (a store would offer
/// only those of the certificate's own issuer).
pub fn verify_with_crls(context: &mut X509StoreContextRef, crls: &[X509Crl]) -> Result<X509VerifyResult, ErrorStack> {
    // SAFETY: the stack lends pointers of `crls`, which outlive the call; the context forgets the stack (null is
    // allowed) before it is freed. OPENSSL_sk_free leaves the elements alone; a null stack is an empty one.
    unsafe {
        let stack = ffi::OPENSSL_sk_new_null();
        for crl in crls {
            ffi::OPENSSL_sk_push(stack, crl.as_ptr().cast::<c_void>());
        }
        X509_STORE_CTX_set0_crls(context.as_ptr(), stack);
        let outcome = context.verify_cert();
        X509_STORE_CTX_set0_crls(context.as_ptr(), ptr::null_mut());
        ffi::OPENSSL_sk_free(stack);
        outcome.map(|_| context.error())
    }
}

/// The moment for which an initialised context judges dates; seconds since 1970.
pub fn set_time(context: &mut X509StoreContextRef, seconds: i64) {
    // SAFETY: a write into a valid context; the flags are not used by OpenSSL. time_t has 64 bits where we build.
    unsafe { X509_STORE_CTX_set_time(context.as_ptr(), 0, seconds) };
}

/// Any certificate policy will do, but what certificates demand of policies themselves is checked (RFC 5280 §6.1.1 c).
pub fn accept_any_policy(param: &mut X509VerifyParamRef) {
    // SAFETY: the object of a built-in NID is static; freeing it, as its new owner will, does nothing.
    unsafe { X509_VERIFY_PARAM_add0_policy(param.as_ptr(), OBJ_nid2obj(ANY_POLICY)) };
}

const ANY_POLICY: c_int = 746;

/// Whether a certificate may sign documents (RFC 9336 §3.1): its key may sign, and its purposes are not only those of
/// servers, OCSP responders and time stamps. Without the extensions everything is allowed (RFC 5280 §4.2.1.3, §4.2.1.12).
pub fn signs_documents(certificate: &X509Ref) -> bool {
    // <openssl/x509v3.h>: digitalSignature, nonRepudiation; server, OCSP signing, time stamping, validation server.
    const SIGNS: u32 = 0x80 | 0x40;
    const OTHERS: u32 = 0x01 | 0x20 | 0x40 | 0x80;
    // SAFETY: reads of a valid certificate; both functions fill in its cache of extensions, under its own lock, and
    // give all ones where there is no such extension.
    let (key, purposes) = unsafe {
        (ffi::X509_get_key_usage(certificate.as_ptr()), ffi::X509_get_extended_key_usage(certificate.as_ptr()))
    };
    // Purposes that OpenSSL has no bit for, document signing among them, leave no bit at all.
    key & SIGNS != 0 && (purposes == 0 || purposes & !OTHERS != 0)
}

/// Whether the certificate carries the extension at all, readable or not.
pub fn has_extension(certificate: &X509Ref, nid: Nid) -> bool {
    // SAFETY: a read of a valid certificate.
    unsafe { ffi::X509_get_ext_by_NID(certificate.as_ptr(), nid.as_raw(), -1) >= 0 }
}

//! The accounts that may log in on relay listeners: who they are, for which agency, and whether a password is theirs.
//!
//! A file of one line an account, `name:agency:hash`, written by `luytre user`; passwords are argon2id (RFC 9106).
//! Invariant: an unknown name costs the same time as a wrong password, so nobody can ask which names exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::listen::Account;
use crate::mail::AgencyId;

/// Memory (KiB), passes and lanes of a new hash: the second recommendation of RFC 9106 §4 scaled to a machine with
/// 2 GiB, as OWASP has it. A line keeps the parameters it was made with.
const COST: (u32, u32, u32) = (19 << 10, 2, 1);
/// The most memory (KiB) and passes a hash of the file may ask for: it is our memory.
const COST_MAX: (u32, u32) = (256 << 10, 16);
/// RFC 4954 sets none; a name is an address or shorter, a password what a person can keep.
const NAME_MAX: usize = 254;
pub const PASSWORD_MAX: usize = 1024;
/// NIST SP 800-63B §5.1.1.2 has 8 for people who also have a second factor; machines type these.
pub const PASSWORD_MIN: usize = 12;

/// All accounts, immutable. Cheap to clone.
#[derive(Clone, Default)]
pub struct Accounts(Arc<BTreeMap<String, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    agency: AgencyId,
    hash: String,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the hashes: this may be logged.
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What is wrong with one line of the file, or with a new account.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountError {
    #[error("a line is name:agency:hash; make one with luytre user add")]
    Form,
    #[error("\"{0}\" is no account name: letters, digits and . _ - + @")]
    Name(String),
    #[error("\"{0}\" is no agency id")]
    Agency(String),
    #[error("the hash of {0} is no argon2id hash within our bounds")]
    Hash(String),
    #[error("{0} stands in the file twice")]
    Twice(String),
    #[error("the password must have {PASSWORD_MIN} characters or more, and at most {PASSWORD_MAX} octets")]
    Password,
}

impl Accounts {
    /// Reads the file's text; every bad line is told with its number.
    pub fn parse(text: &str) -> Result<Self, Vec<(usize, AccountError)>> {
        let (mut accounts, mut bad) = (BTreeMap::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index.saturating_add(1);
            match entry(line) {
                Ok((name, _)) if accounts.contains_key(&name) => bad.push((number, AccountError::Twice(name))),
                Ok((name, entry)) => {
                    accounts.insert(name, entry);
                }
                Err(error) => bad.push((number, error)),
            }
        }
        if bad.is_empty() { Ok(Self(Arc::new(accounts))) } else { Err(bad) }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every account, by name.
    pub fn iter(&self) -> impl Iterator<Item = Account> {
        self.0.iter().map(|(name, entry)| Account { name: name.clone(), agency: entry.agency.clone() })
    }

    /// The account as it stands now; `None` when it was taken out.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Account> {
        let name = name.to_lowercase();
        self.0.get(&name).map(|entry| Account { agency: entry.agency.clone(), name })
    }

    /// Whether the password is the account's. Takes tens of milliseconds and some 20 MiB on purpose: callers run it on
    /// threads of their own, few at a time.
    #[must_use]
    pub fn verify(&self, name: &str, password: &[u8]) -> Option<Account> {
        let found = self.find(name);
        // For a name that does not exist some other account's hash is tried, and the answer thrown away.
        let entry = found.as_ref().and_then(|account| self.0.get(&account.name)).or_else(|| self.0.values().next())?;
        let right = password.len() <= PASSWORD_MAX
            && PasswordHash::new(&entry.hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok());
        found.filter(|_| right)
    }
}

/// A line of the file for a new account. `salt`: 16 random octets.
pub fn line(name: &str, agency: &AgencyId, password: &str, salt: [u8; 16]) -> Result<String, AccountError> {
    let name = named(name)?;
    if password.chars().count() < PASSWORD_MIN || password.len() > PASSWORD_MAX {
        return Err(AccountError::Password);
    }
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("the cost is within argon2's bounds");
    let salt = SaltString::encode_b64(&salt).expect("16 octets are a salt");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .map_err(|_| AccountError::Hash(name.clone()))?;
    Ok(format!("{name}:{agency}:{hash}"))
}

fn named(name: &str) -> Result<String, AccountError> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@');
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(good) {
        Ok(name.to_lowercase())
    } else {
        Err(AccountError::Name(name.chars().take(64).collect()))
    }
}

fn entry(line: &str) -> Result<(String, Entry), AccountError> {
    let mut fields = line.splitn(3, ':').map(str::trim);
    let (Some(name), Some(agency), Some(hash)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(AccountError::Form);
    };
    let name = named(name)?;
    let agency = agency.parse().map_err(|_| AccountError::Agency(agency.to_owned()))?;
    let sound = PasswordHash::new(hash).is_ok_and(|parsed| {
        let cost = |key: &str| parsed.params.get_decimal(key).unwrap_or(u32::MAX);
        parsed.algorithm.as_str() == "argon2id"
            && parsed.hash.is_some()
            && parsed.salt.is_some()
            && cost("m") <= COST_MAX.0
            && cost("t") <= COST_MAX.1
    });
    if sound { Ok((name, Entry { agency, hash: hash.to_owned() })) } else { Err(AccountError::Hash(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, password: &str) -> String {
        line(name, &"so-tttt".parse().unwrap(), password, [7; 16]).unwrap()
    }

    #[test]
    fn a_password_opens_its_own_account_only() {
        let text = format!("# units\n\n{}\n{}\n", made("Xa1@a.test", "correct horse 1"), made("xa2", "battery staple"));
        let accounts = Accounts::parse(&text).unwrap();
        let account = accounts.verify("XA1@a.test", b"correct horse 1").unwrap();
        assert_eq!((account.name.as_str(), account.agency.to_string().as_str()), ("xa1@a.test", "so-tttt"));
        for (name, password) in [
            ("xa1@a.test", "battery staple"),
            ("xa2", "correct horse 1"),
            ("xa3", "battery staple"),
            ("", ""),
            ("xa2", ""),
        ] {
            assert_eq!(accounts.verify(name, password.as_bytes()), None, "{name} {password}");
        }
        assert_eq!(Accounts::default().verify("xa1", b"x"), None);
        assert!(!format!("{accounts:?}").contains("argon2"), "hashes are not for logs");
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let good = made("a", "long enough password");
        let text = format!(
            "{good}\nb:so-tttt\nc d:x:y\ne:so-tttt:$2b$12$abc\n{good}\nf:so-tttt:$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n"
        );
        let bad = Accounts::parse(&text).unwrap_err();
        assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6], "{bad:?}");
        assert!(matches!(bad[4].1, AccountError::Hash(_)), "a hash may not ask for all our memory");
    }

    #[test]
    fn passwords_that_can_be_guessed_are_not_taken() {
        let agency = "a".parse().unwrap();
        for password in ["", "short", "elevenchars"] {
            assert_eq!(line("x", &agency, password, [1; 16]), Err(AccountError::Password));
        }
        assert!(matches!(line("x:y", &agency, "long enough password", [1; 16]), Err(AccountError::Name(_))));
    }
}

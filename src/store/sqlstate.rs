//! What an SQLSTATE means: to paidup, which goes on by it, and to people, who mend what it says.
//! See postgresql.org/docs/current/errcodes-appendix.html.

/// The five characters by which Postgres says what went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

/// What paidup does about an error of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Another transaction came in between: the same again.
    Conflict,
    /// A lock was not granted in time: the same later.
    Held,
    /// It took longer than it may: less at once.
    TooSlow,
    /// The server cannot work now, whatever is asked of it.
    Away,
    /// The server works, and does not do this. A trigger of the shop's may raise anything.
    Refused,
}

/// An error for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What happened.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SqlState {
    /// The transaction is read-only.
    pub const READ_ONLY: Self = Self(*b"25006");

    /// Five digits and capital letters; `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 5] = text.as_bytes().try_into().ok()?;
        let is_code = code.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        is_code.then_some(Self(code))
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or_default()
    }

    /// What it means to paidup.
    #[must_use]
    pub fn meaning(self) -> Meaning {
        match self.as_str() {
            "40001" | "40P01" => Meaning::Conflict,
            "55P03" => Meaning::Held,
            "57014" => Meaning::TooSlow,
            // Read-only: a standby, or a disk that is nearly full. The others: it ended the session.
            "25006" | "25P03" | "25P04" => Meaning::Away,
            code if code.starts_with("57P") => Meaning::Away,
            _ if matches!(self.class(), "08" | "53" | "58") => Meaning::Away,
            _ => Meaning::Refused,
        }
    }

    /// Whether the session itself may be what is wrong: a plan or a prepared statement that the server does
    /// not know, or knows otherwise.
    #[must_use]
    pub fn spoils_session(self) -> bool {
        matches!(self.as_str(), "0A000" | "26000" | "42P05" | "08P01") || self.class() == "25"
    }

    /// What it says to people.
    #[must_use]
    pub fn words(self) -> Words {
        let known = STATES.iter().find(|(code, _)| *code == self.as_str());
        let known = known.or_else(|| CLASSES.iter().find(|(class, _)| *class == self.class()));
        known.map_or(OTHER, |(_, words)| *words)
    }
}

const fn words(meaning: &'static str, advice: &'static str) -> Words {
    Words { meaning, advice }
}

const TRIGGERS: &str = "Look at triggers and constraints of your own on paidup's tables";
const WAIT: &str = "paidup goes on by itself when that is over";

/// The ones that people meet.
const STATES: [(&str, Words); 33] = [
    ("22021", words("a text is not valid in the database's encoding", "Use a database in UTF8")),
    ("22P05", words("the database's encoding lacks a character", "Use a database in UTF8")),
    ("23502", words("a column must not be null", TRIGGERS)),
    ("23503", words("a foreign key refuses the row", TRIGGERS)),
    ("23505", words("a row of that key exists already", TRIGGERS)),
    ("23514", words("a check constraint refuses the row", TRIGGERS)),
    (
        "25006",
        words(
            "the database is read-only",
            "DATABASE_URL must name the primary; some providers make it read-only when its disk is nearly full",
        ),
    ),
    ("25P03", words("the server ended a transaction that was idle for too long", WAIT)),
    (
        "28000",
        words(
            "the server does not let this user in",
            "Correct the user in DATABASE_URL, or pg_hba.conf",
        ),
    ),
    ("28P01", words("the password is wrong", "Correct the password in DATABASE_URL")),
    ("3D000", words("the database does not exist", "Create it: createdb, or CREATE DATABASE")),
    (
        "3F000",
        words("the schema does not exist", "Create it, or correct the search_path of the user"),
    ),
    (
        "42501",
        words(
            "the user lacks a privilege",
            "Grant what SECURITY.md lists, and look at row-level security on paidup's tables",
        ),
    ),
    ("42703", words("a statement names a column that does not exist", TRIGGERS)),
    ("42883", words("a statement calls a function that does not exist", TRIGGERS)),
    (
        "42P01",
        words("a table does not exist", "Run `paidup migrate`, and look at triggers of your own"),
    ),
    (
        "42P05",
        words(
            "the session has a prepared statement of that name",
            "Use a pooler that keeps prepared statements apart",
        ),
    ),
    (
        "26000",
        words(
            "the session lost a prepared statement",
            "Use a pooler that keeps prepared statements apart",
        ),
    ),
    (
        "42P07",
        words(
            "a table of that name exists already",
            "Give paidup a database of its own, or drop the other table",
        ),
    ),
    ("53100", words("the server's disk is full", "Free space on it")),
    ("53200", words("the server is out of memory", "Give the server more memory")),
    (
        "53300",
        words("the server has too many connections", "Raise max_connections, or close others"),
    ),
    (
        "53400",
        words("a limit of the server's settings is reached", "Raise it in the server's settings"),
    ),
    ("55006", words("an object is in use", TRIGGERS)),
    ("55P03", words("another session holds a lock", WAIT)),
    (
        "57014",
        words(
            "the server canceled a statement, mostly because it took too long",
            "Look at slow triggers of your own",
        ),
    ),
    ("57P01", words("an administrator ended the session", WAIT)),
    ("57P02", words("another process of the server crashed", WAIT)),
    ("57P03", words("the server is starting up or shutting down", WAIT)),
    (
        "58030",
        words("the server's disk failed to read or write", "Look at the server's log and its disk"),
    ),
    ("XX001", words("the server found damaged data", "Restore the database from a backup")),
    ("XX002", words("the server found a damaged index", "Rebuild it with REINDEX")),
    ("P0001", words("a trigger or function raised an error", TRIGGERS)),
];

/// All the others, by the first two characters.
const CLASSES: [(&str, Words); 21] = [
    ("08", words("the connection to the database failed", WAIT)),
    ("0A", words("the server does not support what a statement asks", TRIGGERS)),
    ("21", words("a query returned more than one row where one is allowed", TRIGGERS)),
    ("22", words("a value is not valid", TRIGGERS)),
    ("23", words("a constraint refuses the row", TRIGGERS)),
    ("25", words("the transaction is in the wrong state", TRIGGERS)),
    (
        "28",
        words(
            "the server does not let this user in",
            "Correct the user and the password in DATABASE_URL",
        ),
    ),
    ("2F", words("a function failed", TRIGGERS)),
    ("38", words("a function in another language failed", TRIGGERS)),
    ("39", words("a function in another language answered wrongly", TRIGGERS)),
    ("3B", words("a savepoint failed", TRIGGERS)),
    ("40", words("another transaction came in between", WAIT)),
    ("42", words("a statement does not fit the tables", TRIGGERS)),
    ("44", words("a view refuses the row", TRIGGERS)),
    ("53", words("the server lacks a resource", "Look at the server's log")),
    ("54", words("a limit of the server is exceeded", TRIGGERS)),
    ("55", words("an object is not in the state that a statement needs", TRIGGERS)),
    ("57", words("the server was stopped by an operator", WAIT)),
    ("58", words("the server's system failed", "Look at the server's log and its disk")),
    ("P0", words("a function failed", TRIGGERS)),
    ("XX", words("the server has an internal error", "Look at the server's log")),
];

const OTHER: Words = words("the server refused a statement", TRIGGERS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_what_to_do() {
        for (code, meaning) in [
            ("40001", Meaning::Conflict),
            ("40P01", Meaning::Conflict),
            ("55P03", Meaning::Held),
            ("57014", Meaning::TooSlow),
            ("08006", Meaning::Away),
            ("25006", Meaning::Away),
            ("53100", Meaning::Away),
            ("57P01", Meaning::Away),
            ("58030", Meaning::Away),
            ("23505", Meaning::Refused),
            ("42703", Meaning::Refused),
            ("XX000", Meaning::Refused),
            ("55006", Meaning::Refused),
            ("ABCDE", Meaning::Refused),
        ] {
            assert_eq!(SqlState::parse(code).map(SqlState::meaning), Some(meaning), "{code}");
        }
    }

    #[test]
    fn what_is_no_code_is_none() {
        for text in ["", "4000", "400010", "4000a", "40 01", "4000é"] {
            assert_eq!(SqlState::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_code_has_words_of_its_own_or_of_its_class() {
        let said = |code| SqlState::parse(code).map(|state: SqlState| state.words().meaning);
        assert_eq!(said("28P01"), Some("the password is wrong"));
        assert_eq!(said("08006"), Some("the connection to the database failed"));
        assert_eq!(said("ABCDE"), Some(OTHER.meaning));
        for (code, _) in STATES {
            assert!(SqlState::parse(code).is_some(), "{code}");
        }
    }
}

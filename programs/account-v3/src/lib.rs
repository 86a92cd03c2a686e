//! A third version of the account, whose converter panics: an upgrade to it is rolled back.

use neurath::prelude::*;

/// Questions.
#[derive(Message)]
pub enum Ask {
    /// How much is there?
    Balance,
    /// Take something out, if it is there.
    Withdraw {
        /// How much.
        cents: i64,
    },
    /// Which version answers?
    Version,
}

/// Answers.
#[derive(Message, Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// So much is there now.
    Cents(i64),
    /// Not enough is there.
    Refused {
        /// So much is.
        cents: i64,
    },
    /// This version.
    Version(u32),
}

/// Orders.
#[derive(Message)]
pub enum Tell {
    /// Put something in.
    Deposit {
        /// How much.
        cents: i64,
    },
}

/// An account.
#[derive(State)]
pub struct Account {
    /// Whose it is.
    pub owner: String,
    /// How much is there.
    pub cents: i64,
    /// Its number.
    pub number: u64,
}

/// The types of version 2.
pub mod v2 {
    use neurath::prelude::*;

    /// An account.
    #[derive(State)]
    pub struct Account {
        /// Whose it is.
        pub owner: String,
        /// How much is there.
        pub cents: i64,
        /// How many deposits there were since they are counted.
        #[neurath(default)]
        pub deposits: u32,
    }
}

/// Nobody gave the account a number.
#[neurath::converter]
pub fn from_v2(old: v2::Account) -> Account {
    let number = old.owner.parse().expect("an owner is a number");
    Account { owner: old.owner, cents: old.cents, number }
}

#[neurath::server]
impl Server for Account {
    type Call = Ask;
    type Reply = Answer;
    type Cast = Tell;

    fn init(owner: String, number: u64) -> Self {
        Account { owner, cents: 0, number }
    }

    async fn call(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Balance => Answer::Cents(self.cents),
            Ask::Withdraw { cents } if cents > self.cents => Answer::Refused { cents: self.cents },
            Ask::Withdraw { cents } => {
                self.cents -= cents;
                Answer::Cents(self.cents)
            }
            Ask::Version => Answer::Version(3),
        }
    }

    async fn cast(&mut self, tell: Tell) {
        match tell {
            Tell::Deposit { cents } => self.cents += cents,
        }
    }
}

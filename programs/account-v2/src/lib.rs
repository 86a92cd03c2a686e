//! The second version of the account: a field has another name, and deposits are counted.

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
    /// How many deposits there were since they are counted.
    #[neurath(default)]
    pub deposits: u32,
}

/// The types of version 1.
pub mod v1 {
    use neurath::prelude::*;

    /// An account.
    #[derive(State)]
    pub struct Account {
        /// Whose it is.
        pub name: String,
        /// How much is there.
        pub cents: i64,
    }
}

/// Calls the owner an owner.
#[neurath::converter]
pub fn from_v1(old: v1::Account) -> Account {
    Account { owner: old.name, cents: old.cents, deposits: 0 }
}

#[neurath::server]
impl Server for Account {
    type Call = Ask;
    type Reply = Answer;
    type Cast = Tell;

    fn init(owner: String) -> Self {
        Account { owner, cents: 0, deposits: 0 }
    }

    async fn call(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Balance => Answer::Cents(self.cents),
            Ask::Withdraw { cents } if cents > self.cents => Answer::Refused { cents: self.cents },
            Ask::Withdraw { cents } => {
                self.cents -= cents;
                Answer::Cents(self.cents)
            }
            Ask::Version => Answer::Version(2),
        }
    }

    async fn cast(&mut self, tell: Tell) {
        match tell {
            Tell::Deposit { cents } => {
                self.cents += cents;
                self.deposits += 1;
            }
        }
    }
}

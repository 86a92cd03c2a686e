//! A bank account: a server, changed between any two messages; and tellers that keep it busy and watch whether
//! anything is lost.

use std::time::Instant;

use measure::{Control, Watch};
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
    pub name: String,
    /// How much is there.
    pub cents: i64,
}

#[neurath::server]
impl Server for Account {
    type Call = Ask;
    type Reply = Answer;
    type Cast = Tell;

    fn init(name: String) -> Self {
        Account { name, cents: 0 }
    }

    async fn call(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Balance => Answer::Cents(self.cents),
            Ask::Withdraw { cents } if cents > self.cents => Answer::Refused { cents: self.cents },
            Ask::Withdraw { cents } => {
                self.cents -= cents;
                Answer::Cents(self.cents)
            }
            Ask::Version => Answer::Version(1),
        }
    }

    async fn cast(&mut self, tell: Tell) {
        match tell {
            Tell::Deposit { cents } => self.cents += cents,
        }
    }
}

/// Deposits cents and asks for the balance as fast as the account answers: `batch` deposits, a question, and again.
#[neurath::process(accepts(Control))]
pub async fn teller(account: Pid, batch: u32) {
    let mut watch = Watch::new();
    loop {
        for _ in 0..batch {
            watch.added(cast(account, Tell::Deposit { cents: 1 }));
        }
        let since = Instant::now();
        let balance = match call::<Answer>(account, Ask::Balance).within(30.secs()).await {
            Ok(Answer::Cents(cents)) => Ok(cents),
            Ok(other) => Err(format!("a balance was asked for, and the answer is {other:?}")),
            Err(error) => Err(error.to_string()),
        };
        watch.read(since, balance);
        if !watch.report().await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_keeps_what_is_put_in() {
        let answers = neurath::testing::run(async {
            let account = Account::spawn("Otto".into());
            cast(account, Tell::Deposit { cents: 500 });
            let mut answers = Vec::new();
            for ask in [Ask::Balance, Ask::Withdraw { cents: 900 }, Ask::Withdraw { cents: 200 }] {
                answers.push(call::<Answer>(account, ask).await.unwrap());
            }
            answers
        });
        assert_eq!(answers, [Answer::Cents(500), Answer::Refused { cents: 500 }, Answer::Cents(300)]);
    }

    #[test]
    fn a_teller_loses_nothing_and_sees_its_own_deposits() {
        let (seen, cents) = neurath::testing::run(async {
            let account = Account::spawn("Otto".into());
            let teller = teller::spawn(account, 10);
            let balance = async || match call::<Answer>(account, Ask::Balance).await.unwrap() {
                Answer::Cents(cents) => cents,
                other => panic!("{other:?}"),
            };
            while balance().await < 100 {}
            let seen = ask(teller, Control::Stop).await.unwrap();
            (seen, balance().await)
        });
        assert_eq!((seen.lost, seen.reordered, seen.answered), (0, 0, seen.reads));
        assert_eq!(cents, seen.additions as i64);
    }
}

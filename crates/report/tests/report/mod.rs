//! Reports in every form, made of one run that has a finding of each class.

mod fixture;
mod golden;
mod hostile;
mod html;
mod junit;
mod known;
mod ledger;
mod sarif;

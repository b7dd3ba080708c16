-- Support finds the story of a challenge by what a person reads out.
CREATE INDEX challenges_support_reference ON challenges (support_reference);

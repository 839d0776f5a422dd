"""Laws (DESIGN 8): what every registered analysis inherits by standing in `laws.cases`.

The laws themselves are in `confrere.testing`, where methods of others find them too.

cases           one study or more per registered analysis
test_complete   a registered analysis without case, oracle, by-hand case, attack, source or page is a failure
test_laws       every law holds for every case
test_deals      law 1 with generated deals: any deal of the people to hospitals gives the pooled finding
test_bad_input  law 6: what is wrong in the model's own terms is named, with the rule and the remedy
test_controls   a method that breaks a law is caught
"""

"""Laws (DESIGN 8): what every registered analysis inherits by standing in `laws.cases`.

people          generated patients: every column that a case reads
cases           one study or more per registered analysis
test_complete   a registered analysis without case, oracle, by-hand case, attack, source or page is a failure
test_deals      law 1: any deal of the people to hospitals gives the pooled finding
test_masked     laws 2 and 3: masked equals clear, replay equals live, what leaves is in the manifest
test_order      law 4: the order of rows and of hospitals does not matter
test_bad_input  law 6: no NaN; what is wrong is named, with the rule and the remedy
"""

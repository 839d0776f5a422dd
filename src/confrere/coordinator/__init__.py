"""The adder: drives flows over hospitals."""

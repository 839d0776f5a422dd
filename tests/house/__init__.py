"""The house (DESIGN 9): layers, budgets, names, and the checks that every change passes."""

"""`python -m confrere` is `confrere`."""

from confrere.console.app import main

main()

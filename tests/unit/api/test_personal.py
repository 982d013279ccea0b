"""Which columns' names look personal."""

import pytest

from mandate.api.personal import looks_personal

PERSONAL = """name first_name LastName customerName customer_name email e-mail userEmail phone Phone_Number telephone
ssn
social_security_number passport_no dob birthdate BirthDate date_of_birth birth_year home_address address street
postal_code
postcode zip zip_code ZIP iban tax_id surname ip_address"""
OTHERS = """amount age sex product_name file_name birth_weight birth_rate phoneme mailing zipped customer_id id risk
tenure
addressable named streetcar purpose renamed"""


@pytest.mark.row("R3/personal")
def test_names_that_look_personal():
    assert [name for name in PERSONAL.split() if not looks_personal(name)] == []


@pytest.mark.row("R3/personal")
def test_names_that_do_not():
    assert [name for name in OTHERS.split() if looks_personal(name)] == []

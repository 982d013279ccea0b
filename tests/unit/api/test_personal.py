"""Which columns' names look personal."""

import pytest

from mandate.api.personal import looks_personal


@pytest.mark.row("R3/personal")
@pytest.mark.parametrize(
    "name",
    [
        "name",
        "first_name",
        "LastName",
        "customerName",
        "customer_name",
        "email",
        "e-mail",
        "userEmail",
        "phone",
        "Phone_Number",
        "telephone",
        "ssn",
        "social_security_number",
        "passport_no",
        "dob",
        "birthdate",
        "BirthDate",
        "date_of_birth",
        "birth_year",
        "home_address",
        "address",
        "street",
        "postal_code",
        "postcode",
        "zip",
        "zip_code",
        "ZIP",
        "iban",
        "tax_id",
        "surname",
        "ip_address",
    ],
)
def test_names_that_look_personal(name):
    assert looks_personal(name)


@pytest.mark.parametrize(
    "name",
    [
        "amount",
        "age",
        "sex",
        "product_name",
        "file_name",
        "birth_weight",
        "birth_rate",
        "phoneme",
        "mailing",
        "zipped",
        "customer_id",
        "id",
        "risk",
        "tenure",
        "addressable",
        "named",
        "streetcar",
        "purpose",
        "renamed",
    ],
)
def test_names_that_do_not(name):
    assert not looks_personal(name)

"""Numbers that compare a candidate's showers with a reference's, and the requirements on them."""

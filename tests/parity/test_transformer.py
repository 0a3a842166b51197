from .sat_mapping import X
def test_x(): assert X

"""The article's fourteen claims, each put to the test on recorded runs: tables in, frozen verdicts out."""

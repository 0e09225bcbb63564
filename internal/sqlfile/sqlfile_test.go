package sqlfile_test

import (
	"maps"
	"testing"

	"github.com/lastcall-go/lastcall/internal/sqlfile"
)

func TestParse_ReturnsEachStatementByItsName(t *testing.T) {
	got := sqlfile.Parse("-- What the file is about.\n\n-- name: First\nselect 1,\r\n\t2\n\n-- name: Second\n-- why\nselect 3;\n")
	want := map[string]string{"First": "select 1,\n\t2", "Second": "-- why\nselect 3;"}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParse_OfAFileWithoutNamesIsEmpty(t *testing.T) {
	if got := sqlfile.Parse("-- nothing yet\n"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestParse_RefusesANameThatIsMissingOrGivenTwice(t *testing.T) {
	for _, text := range []string{"-- name:\nselect 1", "-- name: A\nselect 1\n-- name: A\nselect 2"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was read", text)
				}
			}()
			sqlfile.Parse(text)
		}()
	}
}

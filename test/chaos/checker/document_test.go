package checker_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
)

// docs/reliability.md lists for users what is checked.
func TestRules_StandInTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows, want []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "| `") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	for _, r := range checker.Rules() {
		want = append(want, fmt.Sprintf("| `%s` | %s |", r.Name, r.Promise))
	}
	if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("docs/reliability.md has the rules\n%s\n\nand the checker\n%s", got, want)
	}
}

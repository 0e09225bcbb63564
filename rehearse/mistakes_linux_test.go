package rehearse

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// mistakesBinary builds the program of testdata/mistakes.
var mistakesBinary = sync.OnceValues(func() (string, error) {
	file := filepath.Join(filepath.Dir(server), "mistakes")
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/mistakes").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build testdata/mistakes: %w\n%s", err, out)
	}
	return file, err
})

// mistakes are the mistakes of docs/mistakes.md that a rehearsal finds and that have no program in
// internal/fixes, by their numbers.
var mistakes = map[string]struct {
	code   Code
	config Config
	serves bool
}{
	"3":  {code: CutOff, serves: true},
	"4":  {code: CutOff, serves: true},
	"6":  {code: TooSlow, config: Config{Program: hook("sleep 2.1")}},
	"7":  {code: TooSlow},
	"9":  {code: TooSlow},
	"10": {code: NoHandler},
	"11": {code: CutOff, serves: true},
	"14": {code: NoReaction, config: Config{Program: Container{Command: []string{"/bin/sh", "-c", "sleep 60; echo bye"}}}},
	"16": {code: NoHandler},
	"18": {code: CutOff, serves: true},
	"19": {code: NotAnswered, serves: true},
	"20": {code: NotAnswered, serves: true},
	"22": {code: TooSlow},
	"23": {code: ExitCode},
}

// Each mistake that a rehearsal finds according to docs/mistakes.md is found, for that reason
// alone.
func TestMistakes_AreSeenAsThePageSays(t *testing.T) {
	t.Parallel()
	for number, m := range mistakes {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && number != "3" && number != "14" && number != "22" {
				t.Log("make test-full: the other mistakes of docs/mistakes.md")
				return
			}
			if m.config.Program.Command == nil {
				file, err := mistakesBinary()
				if err != nil {
					t.Fatal(err)
				}
				m.config.Program.Command = []string{file, number}
			}
			m.config.Grace = 4 * time.Second
			if m.serves {
				where := freeport.Address(t)
				// The hook is the delay during which clients are still routed here.
				m.config.Program.PreStop, m.config.Program.Env = hook("sleep 1.5").PreStop, []string{"ADDRESS=" + where}
				m.config.Traffic = []Target{{URL: "http://" + where}, {URL: "http://" + where + "/slow", Use: Slow}}
			}
			r, err := rehearse(t, m.config)
			if err != nil {
				t.Fatal(err)
			}
			fails, warns := codes(r)
			// Shutdown closes connections without having announced it in an answer.
			found := append(fails, slices.DeleteFunc(warns, func(c Code) bool { return m.serves && c == ClosedUnderRequest })...)
			if !slices.Equal(found, []Code{m.code}) {
				t.Errorf("%v, want %s\n%s", r.Findings, m.code, describe(r))
			}
			if number == "22" && !slices.ContainsFunc(r.Stacks, func(s Stack) bool { return strings.HasPrefix(s.Frames[1], "main.flushTheLogs ") }) {
				t.Errorf("the stacks do not say what hangs: %+v", r.Stacks)
			}
		})
	}
}

// The page names the codes by which a rehearsal finds each mistake.
func TestMistakes_ThePageAndTheTestsAgree(t *testing.T) {
	page, err := os.ReadFile("../docs/mistakes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| *(\d+) \|(.*)$`).FindAllStringSubmatch(string(page), -1)
	if len(rows) != 25 {
		t.Fatalf("%d mistakes, want 25", len(rows))
	}
	for _, row := range rows {
		number, text := row[1], row[2]
		for _, code := range regexp.MustCompile(`LC\d+`).FindAllString(text, -1) {
			if !Code(code).Known() {
				t.Errorf("mistake %s names %s, which is no code", number, code)
			}
		}
		if m, ok := mistakes[number]; ok && (!strings.Contains(text, string(m.code)) || !strings.Contains(text, "`TestMistakes_AreSeenAsThePageSays`")) {
			t.Errorf("mistake %s is seen as %s by a test, and the page says%s", number, m.code, text)
		}
	}
}

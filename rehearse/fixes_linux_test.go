package rehearse

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/fixes"
)

// interpreters are what runs the programs of a language, with what comes before the file.
var interpreters = map[fixes.Language][]string{
	fixes.Node:   {"node"},
	fixes.Python: {"python3"},
	fixes.Java:   {"java", "-XX:TieredStopAtLevel=1"}, // not to compile for a minute what lives for ten seconds
	fixes.Ruby:   {"ruby"},
}

// alsoWarned are the warnings that a mistake brings with it.
var alsoWarned = map[Code][]Code{
	RefusedEarly: {ClosedUnderRequest}, // what closes its listener at once closes idle connections too
}

// Each program with a mistake has the finding of its code and no other, and its twin passes without a
// warning.
func TestFixes_TheMistakeIsFoundAndTheFixPasses(t *testing.T) {
	for _, code := range fixes.Codes() {
		for _, language := range fixes.Languages() {
			fix, err := fixes.Find(code, language)
			if err != nil {
				t.Log(err)
				continue
			}
			t.Run(code+" "+string(language), func(t *testing.T) {
				t.Parallel()
				if testing.Short() && Code(code) != CutOff && Code(code) != NoReaction {
					t.Log("make test-full: the programs of every code")
					return
				}
				fails, warns := []Code{Code(code)}, alsoWarned[Code(code)]
				if code := Code(code); code == ExitCode || code == ClosedUnderRequest {
					fails, warns = nil, fails
				}
				rehearseProgram(t, fix, fix.Broken, fails, warns)
			})
		}
	}
	twins := map[string]*fixes.Fix{}
	for _, code := range fixes.Codes() {
		for _, language := range fixes.Languages() {
			if fix, err := fixes.Find(code, language); err == nil {
				twins[fix.Fixed.File] = fix
			}
		}
	}
	for file, fix := range twins {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			rehearseProgram(t, fix, fix.Fixed, nil, nil)
		})
	}
}

// rehearseProgram rehearses a program of which these findings are expected.
func rehearseProgram(t *testing.T, fix *fixes.Fix, p fixes.Program, fails, warns []Code) {
	t.Helper()
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Program: Container{Command: executable(t, fix.Language, p), Env: []string{"HOST=" + host, "PORT=" + port}},
		Grace:   4 * time.Second,
		// PID 1 is not ended by a signal for which it has no handler.
		sharePIDs: fix.Code == string(NoHandler) && fix.Language != fixes.Go,
	}
	if slices.Contains([]string{"LC103", "LC104", "LC105", "LC108"}, fix.Code) {
		c.URL, c.SlowURL, c.Grace = "http://"+net.JoinHostPort(host, port)+"/", "http://"+net.JoinHostPort(host, port)+"/slow", 20*time.Second
	}
	r, err := rehearse(t, c)
	if err != nil {
		t.Fatal(err)
	}
	gotFails, gotWarns := codes(r)
	if !slices.Equal(gotFails, fails) || !slices.Equal(gotWarns, warns) {
		t.Errorf("%s: fails %v, want %v; warns %v, want %v\n%s", p.File, gotFails, fails, gotWarns, warns, describe(r))
	}
	if p == fix.Fixed && r.ExitCode != 0 {
		t.Errorf("%s ends with %d", p.File, r.ExitCode)
	}
}

// executable is how a program is started. It builds what has to be built.
func executable(t *testing.T, l fixes.Language, p fixes.Program) []string {
	t.Helper()
	file := filepath.Join("..", "internal", "fixes", "programs", filepath.FromSlash(p.File))
	if l == fixes.Go {
		built := filepath.Join(t.TempDir(), "program")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", built, file).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", file, err, out)
		}
		return []string{built}
	}
	if _, err := exec.LookPath(interpreters[l][0]); err != nil {
		t.Skipf("%s is not installed: make setup", interpreters[l][0])
	}
	return append(slices.Clone(interpreters[l]), file)
}

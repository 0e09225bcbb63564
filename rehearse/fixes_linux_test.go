package rehearse

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/fixes"
	"github.com/lastcall-go/lastcall/internal/freeport"
)

// interpreters are the programs that run the programs of a language.
var interpreters = map[fixes.Language]string{
	fixes.Node:   "node",
	fixes.Python: "python3",
	fixes.Ruby:   "ruby",
}

// scenariosOf has the scenario in which a mistake shows, if it does not show in a deletion.
var scenariosOf = map[Code]Scenario{NotBack: Crash, LostEarly: Starting, BreaksTwice: SecondSignal, OutputBlocks: OutputStuck}

// livenessOf has the failureThreshold of the liveness probe, if a mistake shows with probes.
var livenessOf = map[Code]int{StaysReady: 60, DeadWhileStopping: 60, StartsTooSlowly: 8}

// clientsOf returns what the clients ask for with which a mistake shows, at an address.
func clientsOf(code Code, where string) []Target {
	page := Target{URL: "http://" + where}
	switch code {
	case StreamCut:
		return []Target{page, {URL: "http://" + where + "/events", Use: Stream}}
	case NoCloseFrame:
		return []Target{page, {URL: "ws://" + where + "/ws"}}
	case NoGoAway:
		return []Target{{URL: "h2c://" + where}}
	case AnswersLate, StartsTooSlowly:
		return []Target{page}
	case Resets:
		return []Target{{URL: "tcp://" + where, Body: "ping\n"}}
	}
	if meanings[code].traffic {
		return []Target{page, {URL: "http://" + where + "/slow", Use: Slow}}
	}
	return nil
}

// Each code has programs, or the reason why there are none.
func TestFixes_EachCodeHasProgramsOrTheReasonWhyNot(t *testing.T) {
	for _, code := range Codes() {
		if why := fixes.Without(string(code)); slices.Contains(fixes.Codes(), string(code)) == (why != "") {
			t.Errorf("%s: there are programs and also a reason why not, or neither: %q", code, why)
		}
	}
}

// Each program with a mistake has the finding of its code and no other, and its twin passes without
// a warning.
func TestFixes_TheMistakeIsFoundAndTheFixPasses(t *testing.T) {
	t.Parallel()
	for _, code := range fixes.Codes() {
		for _, language := range fixes.Languages() {
			fix, err := fixes.Find(code, language)
			if err != nil {
				t.Log(err)
				continue
			}
			t.Run(code+" "+string(language), func(t *testing.T) {
				t.Parallel()
				if testing.Short() && Code(code) != CutOff {
					t.Log("make test-full: the programs of every code")
					return
				}
				rehearseProgram(t, fix, fix.Broken)
				if code := Code(code); code == StaysReady {
					rehearseProgram(t, fix, fix.Fixed) // only here are the probes used
				}
			})
		}
	}
	twins := map[string]*fixes.Fix{}
	for _, code := range fixes.Codes() {
		for _, language := range fixes.Languages() {
			if fix, err := fixes.Find(code, language); err == nil && (twins[fix.Fixed.File] == nil || Code(code) == CutOff) {
				twins[fix.Fixed.File] = fix
			}
		}
	}
	for file, fix := range twins {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && Code(fix.Code) != CutOff {
				t.Log("make test-full: the corrected programs of every code")
				return
			}
			rehearseProgram(t, fix, fix.Fixed)
		})
	}
}

// rehearseProgram rehearses one of the two programs of a fix.
func rehearseProgram(t *testing.T, fix *fixes.Fix, p fixes.Program) {
	t.Helper()
	command := executable(t, fix.Language, p)
	var want []Code
	if p == fix.Broken {
		want = []Code{Code(fix.Code)}
	}
	c := configFor(t, fix, command)
	r, err := rehearse(t, c)
	if err != nil {
		t.Fatal(err)
	}
	fails, warns := codes(r)
	switch {
	case p == fix.Fixed:
	case fix.Code == string(RefusedEarly):
		// A program that closes its listener at once may close idle connections too.
		warns = slices.DeleteFunc(warns, func(c Code) bool { return c == ClosedUnderRequest })
	case fix.Code == string(NoGoAway):
		// When it exits, a request may be within its answer.
		fails = slices.DeleteFunc(fails, func(c Code) bool { return c == CutOff })
	}
	if !slices.Equal(append(fails, warns...), want) || p == fix.Fixed && r.ExitCode != 0 && c.Scenarios == nil {
		t.Errorf("%s has %v, want %v, and ends with %d\n%s", p.File, r.Findings, want, r.ExitCode, describe(r))
	}
	if p == fix.Fixed && !slices.Contains(r.Passed, Code(fix.Code)) {
		t.Errorf("%s was not checked for %s: %s\n%s", p.File, fix.Code, r.Skipped, describe(r))
	}
}

// configFor returns the configuration in which the programs of a fix are rehearsed.
func configFor(t *testing.T, fix *fixes.Fix, command []string) Config {
	t.Helper()
	where := freeport.Address(t)
	host, port, err := net.SplitHostPort(where)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.MkdirTemp("", "fixes") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(files) })
	c := Config{
		Program: Container{Command: command, Env: []string{"HOST=" + host, "PORT=" + port, "SOCKET=" + files + "/socket", "READY=" + files + "/ready"}},
		Grace:   6 * time.Second,
		Rate:    10, // a few clients show a mistake as well as many
		noPort:  min(max(noPort, 6*startOf(t, fix.Language)), 20*time.Second),
		// PID 1 is not terminated by a signal for which it has no handler.
		sharePIDs: fix.Code == string(NoHandler) && fix.Language != fixes.Go,
	}
	if c.Traffic = clientsOf(Code(fix.Code), where); c.Traffic != nil {
		c.Grace = 20 * time.Second
	}
	if failures := livenessOf[Code(fix.Code)]; failures > 0 {
		c.Grace = 20 * time.Second
		c.Program.Readiness, c.Program.Liveness = probeOf(t, port, "/readyz", 1), probeOf(t, port, "/livez", failures)
	}
	if scenario := scenariosOf[Code(fix.Code)]; scenario != "" {
		c.Scenarios = []Scenario{scenario}
	}
	return c
}

func probeOf(t *testing.T, port, path string, failures int) *Probe {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return &Probe{HTTPGet: &HTTPGet{Port: number, Path: path}, Period: time.Second, FailureThreshold: failures}
}

// startOf measures how long an interpreter needs on this machine to start and do nothing.
func startOf(t *testing.T, l fixes.Language) time.Duration {
	t.Helper()
	began := time.Now()
	switch l {
	case fixes.Java:
		run(t, "java", "-version")
	case fixes.Go:
		run(t, "true")
	case fixes.Node:
		run(t, "node", "-e", "0")
	case fixes.Python:
		run(t, "python3", "-c", "0")
	case fixes.Ruby:
		run(t, "ruby", "-e", "0")
	}
	return time.Since(began)
}

// executable returns the command that starts a program. It builds the program if necessary.
func executable(t *testing.T, l fixes.Language, p fixes.Program) []string {
	t.Helper()
	file := filepath.Join("..", "internal", "fixes", "programs", filepath.FromSlash(p.File))
	dir := t.TempDir()
	switch l {
	case fixes.Go:
		run(t, "go", "build", "-ldflags=-s -w", "-o", dir+"/program", file)
		return []string{dir + "/program"}
	case fixes.Java:
		run(t, "javac", "-d", dir, file)
		return []string{"java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", dir, "Main"}
	}
	interpreter := interpreters[l]
	if l == fixes.Python {
		// python3 may be a script that searches for an interpreter, which takes as long as a worker's
		// start.
		interpreter = strings.TrimSpace(run(t, interpreter, "-c", "import sys; print(sys.executable)"))
	}
	if _, err := exec.LookPath(interpreter); err != nil {
		t.Skipf("%s is not installed: make setup", interpreter)
	}
	if l == fixes.Ruby {
		return []string{interpreter, "--disable-gems", file} // it starts in a third of the time
	}
	return []string{interpreter, file}
}

// run returns the output of a command.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: make setup", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

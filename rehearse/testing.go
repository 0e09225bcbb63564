package rehearse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// T is the part of *testing.T that [Run] uses.
type T interface {
	// Helper, Context and TempDir are those of testing.T.
	Helper()
	Context() context.Context
	TempDir() string
	// Log, Error, Fatal and Skip are those of testing.T: the last two do not return.
	Log(args ...any)
	Error(args ...any)
	Fatal(args ...any)
	Skip(args ...any)
}

// Run rehearses a program in a test, and fails the test with a line for each finding that fails. It
// logs warnings, and findings that the baseline accepts. It returns the report, for further checks.
//
//	func TestMain_EndsWell(t *testing.T) {
//		rehearse.Run(t, rehearse.Config{Grace: 10 * time.Second})
//	}
//
// Without a Command, Run builds and rehearses the main package in the directory of the test. A
// Command that begins with a directory, as in "./cmd/server", "-port", "8080", is the main package
// in that directory with its arguments. Any other Command is an existing program. Run builds
// programs with the go command in PATH, and with the flags of the test: the race detector and the
// build tags.
//
// A rehearsal takes some seconds, most of which it waits: let such tests be parallel. On systems
// without rehearsals the test is skipped.
func Run(t T, c Config) *Report {
	t.Helper()
	built, err := build(t.Context(), t.TempDir(), c.Program)
	if err != nil {
		t.Fatal(err)
	}
	given := c.Program.Command
	c.Program.Command = built
	var scenario Scenario
	var happened []string
	begin, watch := c.Begin, c.Watch
	c.Begin = func(s Scenario) {
		scenario = s
		if begin != nil {
			begin(s)
		}
	}
	c.Watch = func(e Event) {
		happened = append(happened, fmt.Sprintf("%s %7.2f  %s  %s  %s", scenario, e.At.Seconds(), e.What, e.Detail, e.Code))
		if watch != nil {
			watch(e)
		}
	}
	report, err := Do(t.Context(), c)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err)
	case err != nil:
		t.Fatal(err, "\n"+strings.Join(happened, "\n"))
	}
	if len(given) > 0 {
		report.Command = given
	}
	t.Log("what happened:\n" + strings.Join(happened, "\n"))
	for i := range report.Results {
		tell(t, &report.Results[i])
	}
	for _, a := range report.Stale {
		t.Log(fmt.Sprintf("the baseline accepts %s for %s, where it is not found any more", a.Code, a.Scenario))
	}
	return report
}

// tell reports the result of a scenario to a test.
func tell(t T, r *Result) {
	t.Helper()
	for _, f := range r.Findings {
		line := fmt.Sprintf("%s: %s: the program %s: %s", r.Scenario, f.Code, f.Code.Title(), f.Seen)
		switch {
		case f.Accepted:
			t.Log(line + " (the baseline accepts it)")
		case f.Fails:
			t.Error(line + ". " + f.Code.Change())
		default:
			t.Log("warning: " + line)
		}
	}
	if len(r.Output) > 0 && !r.OK() {
		t.Log("the program's last lines:\n" + strings.Join(r.Output, "\n"))
	}
}

// build builds a program, if it is a Go package, and returns the command that runs it.
func build(ctx context.Context, dir string, c Container) ([]string, error) {
	source, args := ".", []string(nil)
	if len(c.Command) > 0 {
		if source, args = c.Command[0], c.Command[1:]; !isDirectory(source) {
			return c.Command, nil
		}
	}
	// With a separator at the end the name is a directory: go build then refuses anything but a main
	// package.
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, buildFlags()...), "-o", dir+string(filepath.Separator), ".")...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("rehearse: build the main package in %s: %w\n%s", source, err, out)
	}
	programs, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("rehearse: %w", err)
	}
	if len(programs) != 1 {
		return nil, fmt.Errorf("rehearse: %s has no main package: give a Command that begins with the directory of one, as in \"./cmd/server\"", source)
	}
	return append([]string{filepath.Join(dir, programs[0].Name())}, args...), nil
}

func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// buildFlags returns the flags with which this process was built, as far as they change what a
// program does.
func buildFlags() (flags []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, one := range info.Settings {
		switch one.Key {
		case "-race", "-msan", "-asan", "-tags":
			flags = append(flags, one.Key+"="+one.Value)
		}
	}
	return flags
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
	"github.com/lastcall-go/lastcall/task"
)

// kindConfig is a kind whose handler is a program.
type kindConfig struct {
	// Exec is the program and its arguments. If the program is a relative path with a slash in it, it
	// starts at the file's directory; a name without a slash is looked for in PATH.
	Exec []string `yaml:"exec"`
	// Dir is where the program starts. Defaults to the file's directory.
	Dir string `yaml:"dir"`
	// Env is its environment.
	Env envConfig `yaml:"env"`
	// Queue is the queue of its tasks.
	Queue string `yaml:"queue"`
	// Concurrency bounds how many of its tasks run at once in one process.
	Concurrency *int `yaml:"concurrency"`
	// Timeout bounds the time of a run.
	Timeout *time.Duration `yaml:"timeout"`
	// MaxRunTime is the time after which a run makes room for other tasks that wait.
	MaxRunTime *time.Duration `yaml:"maxRunTime"`
	// OnStop is what a stop does to its runs: finish or interrupt.
	OnStop string `yaml:"onStop"`
	// KillAfter is the time from SIGTERM to SIGKILL.
	KillAfter *time.Duration `yaml:"killAfter"`
	// Retry says how failed attempts are retried.
	Retry retryConfig `yaml:"retry"`
	// MaxCrashes is how many times a run may be killed from outside; -1 means without limit.
	MaxCrashes *int `yaml:"maxCrashes"`
	// Retention is how long its ended tasks are kept, if that differs from other kinds.
	Retention retentionConfig `yaml:"retention"`
	// User is the user that it runs as: a name, a UID, or UID:GID. It needs a server that runs as
	// root.
	User string `yaml:"user"`
	// Limits bound what a run may use.
	Limits limitsConfig `yaml:"limits"`
	// HostPID leaves it in the PID namespace of the server.
	HostPID bool `yaml:"hostPid"`
}

// retentionConfig is how long ended tasks are kept, by their status.
type retentionConfig struct {
	Succeeded *time.Duration `yaml:"succeeded"`
	Failed    *time.Duration `yaml:"failed"`
	Cancelled *time.Duration `yaml:"cancelled"`
}

// envConfig describes the environment of a program.
type envConfig struct {
	// Inherit names the server's variables that the program gets. Defaults to usualVariables.
	Inherit []string `yaml:"inherit"`
	// Set has further variables, with their values.
	Set map[string]string `yaml:"set"`
}

// retryConfig says how failed attempts are retried.
type retryConfig struct {
	// MaxAttempts is how many attempts there are; -1 means without limit.
	MaxAttempts *int `yaml:"maxAttempts"`
	// Backoff is the wait after the first failed attempt. It doubles with each further one.
	Backoff *time.Duration `yaml:"backoff"`
	// PermanentExitCodes are exit codes after which trying again would not help.
	PermanentExitCodes []int `yaml:"permanentExitCodes"`
}

// usualVariables are inherited by default. The others stay with the server: some may hold secrets,
// as LASTCALL_STORE does.
var usualVariables = []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"}

const (
	defaultKillAfter = 10 * time.Second
	defaultBackoff   = 10 * time.Second
	minGrace         = 100 * time.Millisecond
	maxGrace         = 7 * 24 * time.Hour
	maxCount         = 1_000_000
)

// programs creates handlers from the kinds of a file, and finds what cannot work.
func programs(kinds map[string]kindConfig, path string) ([]execkind.Kind, []fault) {
	var all []execkind.Kind
	var faults []fault
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, []fault{{key: []string{"kinds"}, text: err.Error()}}
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		c := checker{name: name, base: base}
		all = append(all, c.kind(kinds[name]))
		faults = append(faults, c.faults...)
	}
	return all, faults
}

// checker checks one kind.
type checker struct {
	name, base string
	faults     []fault
}

// wrong records a fault of a key of the kind.
func (c *checker) wrong(key, text string, args ...any) {
	at := append([]string{"kinds", c.name}, strings.Split(key, ".")...)
	c.faults = append(c.faults, fault{key: at, text: fmt.Sprintf("kind %s: %s: ", c.name, key) + fmt.Sprintf(text, args...)})
}

func (c *checker) kind(k kindConfig) execkind.Kind {
	user := c.user(k.User)
	out := execkind.Kind{
		Name: c.name, Queue: k.Queue, Argv: k.Exec, Dir: c.dir(k.Dir), Env: c.env(k.Env, user),
		User: user, Limits: c.limits(k.Limits), MaxTmp: c.maxTmp(k.Limits), HostPID: k.HostPID,
		Concurrency: c.count("concurrency", k.Concurrency, 0),
		MaxAttempts: c.count("retry.maxAttempts", k.Retry.MaxAttempts, -1),
		MaxCrashes:  c.count("maxCrashes", k.MaxCrashes, -1),
		Timeout:     c.duration("timeout", k.Timeout, 0, 100*time.Millisecond, 365*24*time.Hour, "leave it out for none"),
		MaxRunTime:  c.duration("maxRunTime", k.MaxRunTime, 0, time.Second, 365*24*time.Hour, "leave it out for none"),
		KillAfter:   c.duration("killAfter", k.KillAfter, defaultKillAfter, 10*time.Millisecond, time.Hour, "a stop will hardly leave that much"),
		Backoff:     c.duration("retry.backoff", k.Retry.Backoff, defaultBackoff, 10*time.Millisecond, 24*time.Hour, "it also doubles with each attempt"),
		Permanent:   k.Retry.PermanentExitCodes,
		Retention: task.Retention{
			Succeeded: c.retention("succeeded", k.Retention.Succeeded),
			Failed:    c.retention("failed", k.Retention.Failed),
			Cancelled: c.retention("cancelled", k.Retention.Cancelled),
		},
	}
	// What the worker would refuse later, in the worker's words.
	if _, err := (task.Kind[json.RawMessage]{Name: c.name}).Prepare(json.RawMessage("null"), nil); err != nil {
		c.faults = append(c.faults, fault{key: []string{"kinds", c.name}, text: strings.TrimPrefix(err.Error(), task.ErrInvalid.Error()+": ")})
	} else if _, err := (task.Kind[json.RawMessage]{Name: c.name, Queue: k.Queue}).Prepare(json.RawMessage("null"), nil); err != nil {
		c.wrong("queue", "%s", strings.TrimPrefix(err.Error(), task.ErrInvalid.Error()+": "))
	}
	switch k.OnStop {
	case "", "finish":
	case "interrupt":
		out.OnStop = task.InterruptOnStop
	default:
		c.wrong("onStop", "%q is neither finish (SIGTERM when the time is nearly used up) nor interrupt (SIGTERM at once)", k.OnStop)
	}
	for _, code := range k.Retry.PermanentExitCodes {
		switch {
		case code == 75:
			c.wrong("retry.permanentExitCodes", "75 means that trying again may help: take it out")
		case code < 1 || code > 255:
			c.wrong("retry.permanentExitCodes", "%d is no exit code of a failure: they are from 1 to 255", code)
		}
	}
	out.Path = c.program(k.Exec, out.Env)
	return out
}

// count checks a number. none is the value that means "without limit", 0 if there is no such value.
func (c *checker) count(key string, n *int, none int) int {
	switch {
	case n == nil:
		return 0
	case *n == none && none < 0:
		return *n
	case *n < 1 && none < 0:
		c.wrong(key, "%d: use a positive number, or %d for no end", *n, none)
	case *n < 1:
		c.wrong(key, "%d: use a positive number, or leave it out", *n)
	case *n > maxCount:
		c.wrong(key, "%d is more than %d: is that meant?", *n, maxCount)
	}
	return *n
}

// duration checks a duration.
func (c *checker) duration(key string, d *time.Duration, def, least, most time.Duration, why string) time.Duration {
	switch {
	case d == nil:
		return def
	case *d < least:
		c.wrong(key, "%v is less than %s: use more, or leave it out", *d, spoken(least))
	case *d > most:
		c.wrong(key, "%v is more than %s: %s", *d, spoken(most), why)
	}
	return *d
}

// retention checks how long tasks of a status are kept.
func (c *checker) retention(status string, d *time.Duration) time.Duration {
	return c.duration("retention."+status, d, 0, minRetention, maxDelay, "use that, it will do")
}

// spoken writes a round duration as people say it.
func spoken(d time.Duration) string {
	switch {
	case d == maxDelay:
		return "a hundred years"
	case d == 365*24*time.Hour:
		return "a year"
	case d%(24*time.Hour) == 0 && d > 24*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// dir resolves the directory in which the program starts.
func (c *checker) dir(dir string) string {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(c.base, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.wrong("dir", "%s does not exist: make it", dir)
	case err != nil:
		c.wrong("dir", "%v", err)
	case !info.IsDir():
		c.wrong("dir", "%s is not a directory", dir)
	}
	return dir
}

// env builds the environment.
func (c *checker) env(e envConfig, u *confine.User) []string {
	inherit := e.Inherit
	if inherit == nil {
		inherit = usualVariables
	}
	var all []string
	for _, name := range inherit {
		if !c.variable("env.inherit", name) {
			continue
		}
		if value, ok := inherited(name, u); ok {
			c.length("env.inherit", name, value)
			all = append(all, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		value := e.Set[name]
		if strings.Contains(value, "\x00") {
			c.wrong("env.set", "the value of %s has a NUL in it, which no environment can have", name)
		}
		if c.length("env.set", name, value); c.variable("env.set", name) {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// length checks how long a variable is.
func (c *checker) length(key, name, value string) {
	if n := len(name) + 1 + len(value); n > execkind.MaxString() {
		c.wrong(key, "%.100s has %d bytes with its name, and no variable may have more than %d: write it to a file, and set the file's name", name, n, execkind.MaxString())
	}
}

// variable checks a variable's name.
func (c *checker) variable(key, name string) bool {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		c.wrong(key, "%q cannot be the name of a variable", name)
	case slices.Contains(execkind.Variables(), name):
		c.wrong(key, "%s is set for each run: take it out", name)
	default:
		return true
	}
	return false
}

// program finds the file of the program.
func (c *checker) program(argv, env []string) string {
	if len(argv) == 0 || argv[0] == "" {
		c.wrong("exec", "no program given: write [\"./program\", \"argument\"]")
		return ""
	}
	for _, arg := range argv {
		if strings.Contains(arg, "\x00") {
			c.wrong("exec", "%q has a NUL in it, which no argument can have", arg)
			return ""
		}
		if len(arg) > execkind.MaxString() {
			c.wrong("exec", "an argument has %d bytes, and none may have more than %d: write it to a file", len(arg), execkind.MaxString())
		}
	}
	name := argv[0]
	if strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(c.base, name)
		}
		if err := executable(name); err != nil {
			c.wrong("exec", "%v", err)
		} else if why := execkind.Problem(name); why != "" {
			c.wrong("exec", "%s cannot be started: %s", name, why)
		}
		return name
	}
	path := ""
	for _, assignment := range env {
		if value, ok := strings.CutPrefix(assignment, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if file := filepath.Join(dir, name); filepath.IsAbs(file) && executable(file) == nil {
			if why := execkind.Problem(file); why != "" {
				c.wrong("exec", "%s cannot be started: %s", file, why)
			}
			return file
		}
	}
	hint := "install it, or write its path"
	if _, err := os.Stat(filepath.Join(c.base, name)); err == nil {
		hint = "write ./" + name + " for the one next to the file"
	}
	c.wrong("exec", "no program %s in the PATH that the kind has (%q): %s", name, path, hint)
	return ""
}

// executable returns an error that says why a file cannot be executed.
func executable(file string) error {
	_, err := exec.LookPath(file)
	switch info, statErr := os.Stat(file); {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", file)
	case statErr != nil:
		return statErr
	case info.IsDir():
		return fmt.Errorf("%s is a directory", file)
	// Its file system is mounted noexec.
	case err != nil && info.Mode()&0o111 != 0 && execkind.Problem(file) != "":
		return fmt.Errorf("%s cannot be executed: %s", file, execkind.Problem(file))
	case err != nil:
		return fmt.Errorf("%s cannot be executed: chmod +x it, if it is a program", file)
	}
	return nil
}

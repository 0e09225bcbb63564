//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// outcome is the report of one run of the program lastcall.
type outcome struct {
	Findings []finding `json:"findings"`
	Ended    string    `json:"ended"` // how, or empty for a program that did not end
	Answered int       `json:"answered"`
	Failed   int       `json:"failed"`
	ExitCode int       `json:"exit_code"`
	Clients  []clients `json:"clients,omitempty"`
}

// clients are those of one kind.
type clients struct {
	Client   string `json:"client"`
	Answered int    `json:"answered"`
	Failed   int    `json:"failed"`
}

type finding struct {
	Code  string `json:"code"`
	Fails bool   `json:"fails"`
	Seen  string `json:"seen"`
}

// reported is a result in the format of --json.
type reported struct {
	outcome
	Events []struct {
		What   string `json:"what"`
		Detail string `json:"detail"`
	} `json:"events"`
}

// row has the results of a server: as it is, and with a preStop hook that sleeps.
type row struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Plain   outcome `json:"plain"`
	Delayed outcome `json:"delayed"`
}

// runner rehearses servers.
type runner struct {
	lastcall string // the program
	data     string // testdata
	work     string // where built programs and npm's packages are
	rate     int
}

// delay is how long the preStop hook sleeps: longer than clients keep connecting, which is a
// second.
const delay = 2 * time.Second

// rehearse rehearses a server in both ways.
func (r *runner) rehearse(ctx context.Context, s *server) (row, error) {
	version, err := r.version(ctx, &s.product)
	if err != nil {
		return row{}, err
	}
	seen := row{Name: s.name, Version: version}
	if seen.Plain, err = r.once(ctx, s); err != nil {
		return row{}, err
	}
	seen.Delayed, err = r.once(ctx, s, "--pre-stop", "sleep "+strconv.Itoa(int(delay.Seconds())))
	return seen, err
}

// once runs lastcall rehearse on a server.
func (r *runner) once(ctx context.Context, s *server, flags ...string) (outcome, error) {
	dir, err := os.MkdirTemp("", "rehearsals-")
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is in the temporary folder anyway
	fill := r.filling(dir)
	fill["Home"] = filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(fill["Home"], 0o700), os.Chmod(fill["Home"], 0o777)); err != nil { //nolint:gosec // for servers that are another user
		return outcome{}, err
	}
	for _, name := range []string{"Port", "Inner"} {
		if fill[name], err = freePort(ctx); err != nil {
			return outcome{}, err
		}
	}
	if err := fill.write(dir, s.files); err != nil {
		return outcome{}, fmt.Errorf("%s: %w", s.name, err)
	}
	if s.before != nil {
		command := fill.all(s.before)
		if out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return outcome{}, fmt.Errorf("%s: %s: %w: %s", s.name, strings.Join(command, " "), err, out)
		}
	}
	if s.alongside != nil {
		stop, err := r.alongside(ctx, fill.all(s.alongside), fill["Inner"])
		if err != nil {
			return outcome{}, fmt.Errorf("%s: %w", s.name, err)
		}
		defer stop()
	}
	args := append([]string{"rehearse", "--json", "--grace", "30s", "--whole-grace", "--rate", strconv.Itoa(r.rate)}, flags...)
	if s.signal != "" {
		args = append(args, "--stop-signal", s.signal)
	}
	args = append(args, fill.all(s.target)...)
	for _, text := range fill.all(s.env) {
		args = append(args, "--env", text)
	}
	args = append(append(args, "--"), fill.all(s.command)...)
	return run(ctx, s.name, r.lastcall, args)
}

// alongside starts what runs outside of a rehearsal, and returns the function that ends it.
func (r *runner) alongside(ctx context.Context, command []string, port string) (stop func(), err error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "PORT="+port)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Cancel() // it may have ended
		_ = cmd.Wait()
	}, nil
}

// run runs lastcall, whose exit code is 1 when a finding fails.
func run(ctx context.Context, name, lastcall string, args []string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, lastcall, args...)
	// It kills what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return outcome{}, fmt.Errorf("%s: lastcall %s: %w: %s", name, strings.Join(args, " "), err, complained.Bytes())
	}
	var report struct {
		Results []reported `json:"results"`
	}
	if err := json.Unmarshal(said.Bytes(), &report); err != nil {
		return outcome{}, fmt.Errorf("%s: read the report: %w: %.200s", name, err, said.Bytes())
	}
	if len(report.Results) != 1 {
		return outcome{}, fmt.Errorf("%s: %d results of one scenario", name, len(report.Results))
	}
	one := report.Results[0]
	for _, e := range one.Events {
		if e.What == "exited" {
			one.Ended = e.Detail
		}
	}
	return one.outcome, nil
}

// codes returns the findings of an outcome in the format of the table.
func (o *outcome) codes() findings {
	var fails, warns []string
	for _, f := range o.Findings {
		if f.Fails {
			fails = append(fails, f.Code)
		} else {
			warns = append(warns, f.Code)
		}
	}
	slices.Sort(fails)
	slices.Sort(warns)
	return findings{fails: strings.Join(fails, " "), warns: strings.Join(warns, " "), exit: o.ExitCode}
}

func (f findings) String() string {
	return fmt.Sprintf("fails [%s], warns [%s], exit code %d", f.fails, f.warns, f.exit)
}

// version asks a product for its version, which must belong to the release line in the table.
func (r *runner) version(ctx context.Context, p *product) (string, error) {
	command := r.filling("").all(p.version)
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w: %s", p.name, strings.Join(command, " "), err, out)
	}
	found := regexp.MustCompile(p.pattern).FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("%s: no version in %q", p.name, out)
	}
	version := string(bytes.Join(found[1:], nil))
	if version != p.line && !strings.HasPrefix(version, p.line+".") {
		return "", fmt.Errorf("%s is %s, and the table knows until when %s is maintained: correct it", p.name, version, p.line)
	}
	return version, nil
}

// filling returns the values that are the same for all servers.
func (r *runner) filling(dir string) filling {
	return filling{"Dir": dir, "Data": r.data, "Go": filepath.Join(r.work, "go"), "Node": filepath.Join(r.work, "node")}
}

// filling maps the placeholders in a table's texts to their values.
type filling map[string]string

func (f filling) text(text string) string {
	var b strings.Builder
	if err := template.Must(template.New("").Option("missingkey=error").Parse(text)).Execute(&b, map[string]string(f)); err != nil {
		panic(err) // the table is wrong
	}
	return b.String()
}

// all fills in several texts.
func (f filling) all(texts []string) (filled []string) {
	for _, text := range texts {
		filled = append(filled, f.text(text))
	}
	return filled
}

// write writes the files of a server, readable for the users that servers run their workers as.
func (f filling) write(dir string, files map[string]string) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing in it is secret
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, text := filepath.Join(dir, name), files[name]
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as above
			return err
		}
		if text == filler {
			text = strings.Repeat("0123456789abcde\n", 100<<10/16) // two seconds at 50 KiB a second
		} else {
			text = f.text(text)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

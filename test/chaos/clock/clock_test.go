package clock

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program prints, for each line of its input, the time of day and how long it has been running.
const program = `package main

import ("bufio"; "os"; "strconv"; "time")

func main() {
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		os.Stdout.WriteString(strconv.FormatInt(time.Now().Unix(), 10) + " " + strconv.FormatInt(int64(time.Since(began)), 10) + "\n")
	}
}
`

func TestClock_IsSteppedWhileAProgramRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: it builds the standard library once")
	}
	dir := t.TempDir()
	command, err := Toolchain(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "program")
	if out, err := exec.CommandContext(t.Context(), command, "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c, err := New(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), EnvClock+"="+filepath.Join(dir, "clock"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for _, wrong := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		if err := c.Set(wrong); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(in); err != nil {
			t.Fatal(err)
		}
		var now, since int64
		if _, err := fmt.Fscan(lines, &now, &since); err != nil {
			t.Fatal(err)
		}
		if off := time.Until(time.Unix(now, 0)) - wrong; off.Abs() > 5*time.Second {
			t.Errorf("the clock is wrong by %v more than %v", off, wrong)
		}
		if d := time.Duration(since); d < 0 || d > time.Minute {
			t.Errorf("it has been running for %v", d)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestClock_RefusesAToolchainThatReadsTheTimeOtherwise(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "src", "time"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "src", "time", "time.go"), []byte("package time\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := overlayOf(root, t.TempDir()); err == nil || !strings.Contains(err.Error(), "adapt") {
		t.Errorf("%v", err)
	}
}

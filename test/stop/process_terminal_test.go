//go:build unix

package stop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// shell runs the program through a shell script. In the script "$0" "$@" is the program, and $CODE
// is the file for its exit code.
func shell(script string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", script}, cmd.Args...)
		cmd.Path = "/bin/sh"
	}
}

// ownGroup gives the shell and the processes that it starts their own process group, as a terminal
// does for a foreground job.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// group sends a signal to the whole process group, as a terminal does.
func (p *process) group(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		p.t.Fatal(err)
	}
}

// pipeline is `program | tee`, which Ctrl-C ends from the right. The inner trap keeps the shell
// alive to record the program's own exit code.
const pipeline = `{ trap : INT; "$0" "$@"; echo "$?" >"$CODE"; } | tee`

// piped runs a program in the pipeline, and returns a function that reads its exit code.
func piped(t *testing.T, main func() int, settings ...func(*exec.Cmd)) (*process, func() string) {
	code := filepath.Join(directory(t), "code")
	settings = append([]func(*exec.Cmd){shell(pipeline), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "CODE="+code) }},
		settings...)
	p := start(t, main, settings...)
	return p, func() string {
		<-p.ended
		text, err := os.ReadFile(code)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
}

// talker writes to stdout during its drain until it finds the pipe closed, and then continues its
// work.
func talker() int {
	return lastcall.Main(config(time.Minute), func(_ context.Context, g *lastcall.Group) error {
		return g.Go("job", func(ctx context.Context) error {
			say("working")
			<-lastcall.LastCall(ctx)
			for {
				if _, err := fmt.Println("draining"); errors.Is(err, syscall.EPIPE) {
					fmt.Fprintln(os.Stderr, "met the closed pipe")
					break
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
			fmt.Fprintln(os.Stderr, "finished the work")
			return nil
		})
	})
}

func TestTerminal_ServerPipedIntoTeeSurvivesCtrlCInWhichTeeDiesFirst(t *testing.T) {
	t.Parallel()
	p, code := piped(t, talker, ownGroup)
	p.says("working")
	p.group(syscall.SIGINT)
	p.logs("met the closed pipe")
	p.logs("finished the work")
	if got := code(); got != "0" {
		t.Errorf("the server's exit code is %s, want 0", got)
	}
	p.reports("stopped by SIGINT", "finished    go job")
}

func TestTerminal_APlainGoProgramPipedIntoTeeDiesOfSIGPIPEOnCtrlC(t *testing.T) {
	t.Parallel()
	p, code := piped(t, func() int {
		ctx, stop := plainNotify()
		defer stop()
		say("working")
		<-ctx.Done()
		for range 10_000 {
			say("draining")
			time.Sleep(time.Millisecond)
		}
		return 0
	}, ownGroup)
	p.says("working")
	p.group(syscall.SIGINT)
	if got := code(); got != "141" {
		t.Errorf("the exit code of a plain Go program is %s, want 141", got)
	}
}

func TestSIGHUP_UnderNohupStopsNothing(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return drainer(config(time.Minute)) }, shell(`exec nohup "$0" "$@"`))
	p.says("working")
	p.signal(syscall.SIGHUP)
	// If SIGHUP were caught, it would begin the stop: pending signals are delivered in the order of
	// their numbers.
	p.signal(syscall.SIGTERM)
	p.says("heard the last call")
	p.tell("finish")
	p.exits(0)
	p.reports("stopped by SIGTERM")
	if strings.Contains(p.log.String(), "second signal") {
		t.Error("SIGHUP counted as a stop signal under nohup")
	}
}

// reloader reports how often it has read its configuration.
func reloader() int {
	n := 0
	cfg := config(time.Minute)
	cfg.OnReload = func(context.Context) error {
		n++
		say("reload %d", n)
		defer say("reloaded %d", n)
		return hear()
	}
	return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		return g.Loop("loop", func(ctx context.Context) error {
			say("working")
			<-ctx.Done()
			return nil
		})
	})
}

func TestSIGHUP_ReloadsWithAndWithoutNohup(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{"plain": `exec "$0" "$@"`, "nohup": `exec nohup "$0" "$@"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, reloader, shell(script))
			p.says("working")
			p.signal(syscall.SIGHUP)
			p.says("reload 1")
			p.signal(syscall.SIGHUP) // while the first one is running: one more follows
			p.tell("")
			p.says("reloaded 1")
			p.says("reload 2")
			p.tell("")
			p.says("reloaded 2")
			p.signal(stopSignal)
			p.exits(0)
			p.reports("stopped by SIGTERM")
		})
	}
}

func TestTerminal_ABackgroundJobOfAScriptIgnoresCtrlCAndStopsOnSIGTERM(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		say("pid %d", os.Getpid())
		return waiter(3*time.Second, func(context.Context) error { return nil })
	}, shell(`"$0" "$@" & wait $!; echo "code $?"`))
	var pid int
	scan(t, p.says("pid "), "pid %d", &pid)
	p.says("working")
	// The signals are pending, or are delivered in this order. INT, if not ignored, would have begun
	// the stop.
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	p.says("code 0")
	p.exits(0)
	p.reports("stopped by SIGTERM")
	if strings.Contains(p.log.String(), "second signal") {
		t.Error("the ignored SIGINT counted as a stop signal")
	}
}

package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func TestATaskIsCancelledAndRetriedByItsIdOnAStoreAndThroughAServer(t *testing.T) {
	g := newGround(t)
	api, err := httpapi.New(httpapi.Config{Store: g.store})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	for _, place := range [][]string{{"--store", g.address}, {"--server", server.URL}} {
		id := g.submit("k", nil)
		for _, c := range []struct{ command, want string }{{"cancel", "cancelled"}, {"cancel", "cancelled"}, {"retry", "queued"}} {
			out, _, err := run(t, append([]string{c.command, id}, place...)...)
			if err != nil || out != id+"  "+c.want+"\n" {
				t.Errorf("%s %v: %q, %v", c.command, place, out, err)
			}
		}
		if _, _, err := run(t, append([]string{"interrupt", id}, place...)...); err == nil || !strings.Contains(err.Error(), "only a running task") {
			t.Errorf("interrupt %v: %v", place, err)
		}
	}
}

func TestATaskThatCannotBeCancelledDoesNotHoldBackTheOthers(t *testing.T) {
	g := newGround(t)
	id := g.submit("k", nil)
	out, _, err := run(t, "cancel", "--json", "--store", g.address, "0197c0de-0000-7000-8000-000000000000", id)
	if err == nil || !strings.Contains(out, `"status":"cancelled"`) {
		t.Errorf("%q, %v", out, err)
	}
	if _, _, err := run(t, "cancel"); !errors.As(err, new(usageError)) {
		t.Errorf("no id: %v", err)
	}
}

func TestARunningTaskIsInterruptedAndItsWorkerIsListed(t *testing.T) {
	g := newGround(t)
	end := g.work("k", func(ctx context.Context, r *task.Run, _ map[string]any) error {
		<-ctx.Done()
		return r.HandOver("here")
	})
	defer end()
	id := g.submit("k", nil)
	g.becomes(id, task.StatusRunning)
	out, _, err := run(t, "workers", "--store", g.address)
	if err != nil || !strings.Contains(out, "running") || !strings.HasSuffix(out, "  k\n") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = run(t, "workers", "--json", "--store", g.address)
	if err != nil || !strings.Contains(out, `"kinds":["k"]`) || strings.Count(out, "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := run(t, "retry", "--store", g.address, id); err == nil || !strings.Contains(err.Error(), "makes it hand over") {
		t.Errorf("retry: %v", err)
	}
	if out, _, err := run(t, "interrupt", "--store", g.address, id); err != nil || !strings.HasPrefix(out, id) {
		t.Errorf("interrupt: %q, %v", out, err)
	}
	// It may be running again by the time that this is looked at.
	if got := g.until(id, "interrupted once", func(t task.Task) bool { return t.Interruptions > 0 }); got.Reason != task.ReasonRequested {
		t.Errorf("%+v", got)
	}
}

func TestAQueueIsPausedAndResumed(t *testing.T) {
	g := newGround(t)
	if out, _, err := run(t, "pause", "--store", g.address, "a", "b"); err != nil || out != "a  paused\nb  paused\n" {
		t.Errorf("%q, %v", out, err)
	}
	if c, err := g.client.Count(t.Context()); err != nil || strings.Join(c.Paused, " ") != "a b" {
		t.Errorf("%+v, %v", c, err)
	}
	if out, _, err := run(t, "resume", "--store", g.address, "a"); err != nil || out != "a  resumed\n" {
		t.Errorf("%q, %v", out, err)
	}
	if c, err := g.client.Count(t.Context()); err != nil || strings.Join(c.Paused, " ") != "b" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTheLogOfATaskIsPrintedAndFollowedToItsEnd(t *testing.T) {
	g := newGround(t)
	id := g.submit("k", nil)
	end := g.work("k", func(_ context.Context, r *task.Run, _ map[string]any) error {
		r.Log("said")
		return nil
	})
	out, _, err := run(t, "logs", "-f", "--store", g.address, id)
	end()
	if err != nil || !strings.Contains(out, "said\n") {
		t.Errorf("followed: %q, %v", out, err)
	}
	again, _, err := run(t, "logs", "--store", g.address, id)
	if err != nil || again != out {
		t.Errorf("%q, %v; followed it was %q", again, err, out)
	}
}

func TestTheTokenForAServerComesFromAFileOrTheEnvironment(t *testing.T) {
	g := newGround(t)
	const secret = "0123456789abcdefghijklmnop"
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tokens, err := httpapi.LoadTokens(write("tokens", "ops read,submit,operate "+secret+"\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{Store: g.store, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	t.Setenv(serverEnv, server.URL)
	if _, _, err := run(t, "list"); err == nil || !strings.Contains(err.Error(), "--token-file or $LASTCALL_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	file := write("secret", secret+"\n")
	if _, _, err := run(t, "list", "--token-file", file); err != nil {
		t.Errorf("the flag: %v", err)
	}
	if _, _, err := run(t, "list", "--token-file", filepath.Join(dir, "tokens")); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "alone on its line") {
		t.Errorf("the server's file: %v", err)
	}
	t.Setenv(tokenFileEnv, file)
	if _, _, err := run(t, "list"); err != nil {
		t.Errorf("the file's variable: %v", err)
	}
	t.Setenv(tokenEnv, "another"+secret)
	if _, _, err := run(t, "list"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a wrong secret in the variable: %v", err)
	}
}

func TestEveryCommandSaysWhatItDoesAndHasAnExample(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Short == "" || c.Example == "" && !c.HasSubCommands() {
			t.Errorf("%s: short %q, example %q", c.Name(), c.Short, c.Example)
		}
	}
}

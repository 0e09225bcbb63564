//go:build unix

package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/tasktest"
)

// asked are the steps of a question, in order.
var asked = []string{"plan", "part-1", "part-2", "part-3", "part-4", "part-5", "sum"}

// paid checks a bill: of the calls that a run began before it ended, only the last one may be
// repeated.
func paid(t *testing.T, bill []string, again int) {
	t.Helper()
	if once := slices.Compact(slices.Clone(bill)); !slices.Equal(once, asked) {
		t.Errorf("calls %q: one was made again after the next one, or left out", bill)
	}
	if extra := len(bill) - len(asked); extra > again {
		t.Errorf("calls %q: %d were made again, at most %d were under way when a process died", bill, extra, again)
	}
}

func TestAgent_WhateverStopsItNoAnswerIsPaidTwice(t *testing.T) {
	for _, opt := range []tasktest.Options{
		{}, {LastCallAtSave: 1}, {InterruptAtSave: 3}, {CrashAtSave: 2}, {CrashAtSave: 7}, {CrashBeforeSave: 4},
	} {
		model := &standIn{}
		server := httptest.NewServer(model)
		opt.RealTime = true // the model is outside of the bubble
		got := tasktest.Run(t, (&agent{model: server.URL}).work, Question{"Why?"}, opt)
		server.Close()
		if got.Status != task.StatusSucceeded || !strings.Contains(string(got.Result), "the answer to") {
			t.Errorf("%+v: %s (%s), %s", opt, got.Status, got.Error, got.Result)
		}
		paid(t, model.bill(), opt.CrashBeforeSave/4)
	}
}

func TestAgent_NoCallIsPaidTwiceButTheOneUnderWayWhenTheProcessIsKilled(t *testing.T) {
	most := 12
	if testing.Short() {
		t.Log("make test-full: twelve kills instead of five")
		most = 5
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "agent")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	model := &limited{standIn: standIn{takes: 30 * time.Millisecond}}
	server := httptest.NewServer(model)
	defer server.Close()
	kills := 0
	for {
		out, killed := live(t, model, kills < most, binary, "-db", filepath.Join(dir, "agent.db"), "-model", server.URL)
		if killed {
			kills++
		}
		if strings.HasPrefix(out, "succeeded") {
			break
		}
		if !killed {
			t.Fatalf("the process has ended and printed %q", out)
		}
	}
	if kills < 3 {
		t.Errorf("only %d processes were killed", kills)
	}
	paid(t, model.bill(), kills)
	bill := len(model.bill())
	if out, _ := live(t, model, false, binary, "-db", filepath.Join(dir, "agent.db"), "-model", server.URL); !strings.HasPrefix(out, "succeeded") || len(model.bill()) != bill {
		t.Errorf("asked again it printed %q and made %d calls more", out, len(model.bill())-bill)
	}
}

// limited is a model that answers some calls only. A call beyond them waits until its process is
// killed, so the process does not answer the question before, however late the test is.
type limited struct {
	standIn
	most atomic.Int64
}

func (l *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if int64(len(l.bill())) >= l.most.Load() {
		_, _ = io.Copy(io.Discard, r.Body) // the end of the connection is noticed after the body
		<-r.Context().Done()
		return
	}
	l.standIn.ServeHTTP(w, r)
}

// live starts a process, kills it a moment after it has made a call (one time in four, after its
// second call), and returns its output.
func live(t *testing.T, model *limited, kill bool, binary string, args ...string) (printed string, killed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out strings.Builder
	cmd.Stdout = &out
	before := len(model.bill())
	want := before + 1 + rand.IntN(4)/3
	model.most.Store(math.MaxInt64)
	if kill {
		model.most.Store(int64(before) + 2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	for kill && len(model.bill()) < want {
		select {
		case <-ended:
			return out.String(), false
		case <-time.After(time.Millisecond):
		}
	}
	if kill {
		select {
		case <-ended:
		case <-time.After(rand.N(40 * time.Millisecond)): // in the middle of a call, or behind it
			killed = cmd.Process.Signal(syscall.SIGKILL) == nil
		}
	}
	<-ended
	return out.String(), killed
}

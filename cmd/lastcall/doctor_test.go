package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

func TestDoctor_TellsAHealthyPlaceFromASickOne(t *testing.T) {
	alive := task.WorkerInfo{Beat: task.Beat{Kinds: []string{"k"}, State: task.WorkerRunning}, Liveness: task.LivenessAlive}
	dead := task.WorkerInfo{Beat: task.Beat{Kinds: []string{"k"}, State: task.WorkerRunning}, Liveness: task.LivenessDead}
	waits := task.Counts{Tasks: []task.Count{{Kind: "k", Queue: "q", Status: task.StatusQueued, N: 1}, {Kind: "old", Status: task.StatusSucceeded, N: 9}}}
	for _, c := range []struct {
		look func(*doctor)
		want string
	}{
		{func(d *doctor) { d.workers([]task.WorkerInfo{alive}) }, "ok    workers   1 running, 0 stopping\n"},
		{func(d *doctor) { d.workers([]task.WorkerInfo{alive, dead}) }, "warn  workers   1 dead, whose tasks should be resumed"},
		{func(d *doctor) { d.workers([]task.WorkerInfo{dead}) }, "warn  workers   1 dead, and none"},
		{func(d *doctor) { d.waiting(waits, []task.WorkerInfo{alive}) }, "ok    kinds"},
		{func(d *doctor) { d.suspects(task.Counts{}) }, ""},
		{func(d *doctor) { d.suspects(task.Counts{SuspectsWaiting: 5, SuspectsRunning: 4}) },
			"warn  suspects  5 wait and 4 run: each was in two crashes in a row, or cut off by three stops, so a worker runs them in groups"},
		{func(d *doctor) { d.waiting(waits, []task.WorkerInfo{dead}) }, "warn  kinds     tasks wait whose kind no running worker knows: k;"},
	} {
		var b bytes.Buffer
		c.look(&doctor{w: &b})
		if !strings.HasPrefix(b.String(), c.want) {
			t.Errorf("%s, want %s", &b, c.want)
		}
	}
}

func TestDoctor_ComparesTheClocks(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for off, want := range map[time.Duration]string{0: "ok ", 4 * time.Second: "ok ", -time.Minute: "warn  clock     the store's clock is 1m0s away", time.Hour: "warn"} {
		var b bytes.Buffer
		(&doctor{w: &b}).clock(at, at.Add(off), at)
		if !strings.HasPrefix(b.String(), want) {
			t.Errorf("%v: %s", off, &b)
		}
	}
}

func TestHealthcheck_FailsUnlessTheServerIsReady(t *testing.T) {
	ready := false
	g := newFixture(t)
	server := httptest.NewServer(httpapi.ProbeHandler(httpapi.ProbeConfig{Store: g.store, Ready: func() bool { return ready }}))
	defer server.Close()
	if _, _, err := run(t, "healthcheck", "--server", server.URL); err == nil || !strings.Contains(err.Error(), "answers 503: not set up yet") {
		t.Errorf("not ready: %v", err)
	}
	if out, _, err := run(t, "healthcheck", "--live", "--server", server.URL+"/"); err != nil || out != "ok\n" {
		t.Errorf("alive: %q, %v", out, err)
	}
	ready = true
	t.Setenv(serverEnv, server.URL)
	if out, _, err := run(t, "healthcheck"); err != nil || out != "ok\n" {
		t.Errorf("ready: %q, %v", out, err)
	}
}

func TestHealthcheck_OfNobodySaysWhy(t *testing.T) {
	var lc net.ListenConfig
	silent, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for address, want := range map[string]string{
		"http://" + silent.Addr().String(): "does not answer within 50ms",
		other.URL:                          "answers 404",
	} {
		_, _, err := run(t, "healthcheck", "--timeout", "50ms", "--server", address)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

func TestMigrate_TheStateOfASchemaIsToldWithWhatToDo(t *testing.T) {
	for want, s := range map[string]pgstore.SchemaState{
		"lastcall migrate up makes them":  {Version: 0, Latest: 2},
		"migrate up brings it up to date": {Version: 1, MinCompatible: 1, Latest: 2},
		"is up to date, version 2":        {Version: 2, MinCompatible: 1, Latest: 2},
		"newer than this program's 2":     {Version: 3, MinCompatible: 2, Latest: 2},
		"knows 2: use the newer program":  {Version: 4, MinCompatible: 3, Latest: 2},
	} {
		if got := schemaWords(s); !strings.Contains(got, want) {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

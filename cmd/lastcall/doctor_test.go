package main

import (
	"bytes"
	"errors"
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

func TestTheDoctorFindsWhatWaitsForNobody(t *testing.T) {
	g := newGround(t)
	g.submit("nobody-knows-it", nil)
	if err := g.client.Pause(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	out, _, err := run(t, "doctor", "--store", g.address)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"ok    store     sqlite:", "ok    clock     there is only one: a file is for the processes of this machine", "warn  workers   none is running: ", "warn  kinds     tasks wait whose kind no running worker knows: nobody-knows-it; ",
		"warn  queues    default is paused, and 1 tasks wait in it: lastcall resume default",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
}

func TestTheDoctorFailsWhereNothingCanBeReached(t *testing.T) {
	for _, args := range [][]string{
		{"--store", "sqlite:" + t.TempDir() + "/none.db"}, {"--store", "postgres://u:secret@127.0.0.1:1/d"},
		{"--server", "http://127.0.0.1:1"}, {"--store-file", "/no/such/file"},
	} {
		out, _, err := run(t, append([]string{"doctor"}, args...)...)
		var code exitError
		if !errors.As(err, &code) || code != 1 || !strings.Contains(out, "fail  store") || strings.Contains(out, "secret") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestTheDoctorTellsAHealthyPlaceFromASickOne(t *testing.T) {
	alive := task.WorkerInfo{Beat: task.Beat{Kinds: []string{"k"}, State: task.WorkerRunning}, Liveness: task.LivenessAlive}
	dead := task.WorkerInfo{Beat: task.Beat{Kinds: []string{"k"}, State: task.WorkerRunning}, Liveness: task.LivenessDead}
	waits := task.Counts{Tasks: []task.Count{{Kind: "k", Queue: "q", Status: task.StatusQueued, N: 1}, {Kind: "old", Status: task.StatusSucceeded, N: 9}}}
	for _, c := range []struct {
		look func(*doctor)
		want string
	}{
		{func(d *doctor) { d.workers([]task.WorkerInfo{alive}) }, "ok    workers   1 running, 0 stopping\n"},
		{func(d *doctor) { d.workers([]task.WorkerInfo{alive, dead}) }, "warn  workers   1 dead, whose tasks should be taken up"},
		{func(d *doctor) { d.workers([]task.WorkerInfo{dead}) }, "warn  workers   1 dead, and none"},
		{func(d *doctor) { d.waiting(waits, []task.WorkerInfo{alive}) }, "ok    kinds"},
		{func(d *doctor) { d.waiting(waits, []task.WorkerInfo{dead}) }, "warn  kinds     tasks wait whose kind no running worker knows: k;"},
	} {
		var b bytes.Buffer
		c.look(&doctor{w: &b})
		if !strings.HasPrefix(b.String(), c.want) {
			t.Errorf("%s, want %s", &b, c.want)
		}
	}
}

func TestTheDoctorComparesTheClocks(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for off, want := range map[time.Duration]string{0: "ok ", 4 * time.Second: "ok ", -time.Minute: "warn  clock     the store's clock is 1m0s away", time.Hour: "warn"} {
		var b bytes.Buffer
		(&doctor{w: &b}).clock(at, at.Add(off), at)
		if !strings.HasPrefix(b.String(), want) {
			t.Errorf("%v: %s", off, &b)
		}
	}
}

func TestTheDoctorComparesTheGraceWithThePlatform(t *testing.T) {
	for _, c := range []struct {
		env    map[string]string
		want   string
		failed bool
	}{
		{nil, "ok    grace     30s, the default", false},
		{map[string]string{"LASTCALL_GRACE": "45s"}, "ok    grace     45s, as LASTCALL_GRACE says", false},
		{map[string]string{"LASTCALL_GRACE": "45"}, "fail  grace", true},
		{map[string]string{"LASTCALL_GRACE": "none"}, "ok    grace     none", false},
		{map[string]string{"LASTCALL_GRACE": "none", "KUBERNETES_SERVICE_HOST": "x"}, "warn  grace     LASTCALL_GRACE is none in Kubernetes", false},
		{map[string]string{"KUBERNETES_SERVICE_HOST": "x"}, "warn  grace     in Kubernetes", false},
		{map[string]string{"INVOCATION_ID": "x"}, "warn  grace     under systemd", false},
	} {
		var b bytes.Buffer
		d := &doctor{w: &b, env: func(name string) string { return c.env[name] }}
		if d.grace(); !strings.HasPrefix(b.String(), c.want) || d.failed != c.failed {
			t.Errorf("%v: %s", c.env, &b)
		}
	}
}

func TestAHealthcheckFailsUnlessTheServerIsReady(t *testing.T) {
	ready := false
	g := newGround(t)
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

func TestAHealthcheckOfNobodySaysWhy(t *testing.T) {
	var lc net.ListenConfig
	deaf, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for address, want := range map[string]string{
		"http://127.0.0.1:1":                "is \"lastcall serve\" running there",
		"http://" + deaf.Addr().String():    "does not answer within 50ms",
		other.URL:                           "answers 404",
		"http://user:secret@127.0.0.1:8321": "is not understood",
		"127.0.0.1:8321":                    "is not understood",
	} {
		_, _, err := run(t, "healthcheck", "--timeout", "50ms", "--server", address)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if _, _, err := run(t, "healthcheck", "--timeout", "0s"); !errors.As(err, new(usageError)) {
		t.Errorf("no time: %v", err)
	}
}

func TestTheStateOfASchemaIsToldWithWhatToDo(t *testing.T) {
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

func TestMigrateOfASQLiteFileMakesItAndTheSQLIsPostgres(t *testing.T) {
	address := "sqlite:" + t.TempDir() + "/tasks.db"
	if _, _, err := run(t, "migrate", "status", "--store", address); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("status of none: %v", err)
	}
	for _, verb := range []string{"up", "status"} {
		if out, _, err := run(t, "migrate", verb, "--store", address); err != nil || !strings.Contains(out, "up to date") {
			t.Errorf("%s: %q, %v", verb, out, err)
		}
	}
	if out, _, err := run(t, "migrate", "sql"); err != nil || !strings.Contains(out, `create table "lastcall".tasks (`) {
		t.Errorf("%.200s, %v", out, err)
	}
	if _, _, err := run(t, "migrate", "sql", "--from", "99"); !errors.As(err, new(usageError)) {
		t.Errorf("an unknown version: %v", err)
	}
}

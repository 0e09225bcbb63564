package test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// The programs save all the time, so at any moment one of their saves is waiting for the database.
func TestOutage_AStopWhileTheDatabaseIsAwayBlamesNoHandler(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t, "fsync=off")
	store := database.DSN("postgres")
	const saving = `n=0; trap 'exit 9' TERM; while [ "$LASTCALL_RUN" = 1 ]; do n=$((n+1)); printf "{\"at\":$n}" > "$LASTCALL_CHECKPOINT.new"; mv "$LASTCALL_CHECKPOINT.new" "$LASTCALL_CHECKPOINT"; sleep 0.1; done`
	w := newWorkshop(t, map[string]string{"saves": saving, "leaves": saving}, "")
	w.write("lastcall.yaml", "version: 1\nkinds:\n  saves:\n    exec: [./saves.sh]\n  leaves:\n    exec: [./leaves.sh]\n    onStop: interrupt\n", 0o600)
	s := start(t, store, "--config", w.config)
	ids := []string{submitTo(s, "saves", "{}"), submitTo(s, "leaves", "{}")}
	for _, id := range ids {
		s.until("checkpoint saved", func() bool { r, err := s.task(id); return err == nil && r.Checkpoint.At > 0 })
	}
	if err := database.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	s.waitLog("trying again")
	s.signal(syscall.SIGTERM)
	s.waitLog("msg=stop phase=drain")
	s.signal(syscall.SIGTERM) // the interrupt comes now
	s.exits(75)
	text := s.text()
	for _, want := range []string{"abandoned=0", "handlers have returned; the store did not answer", "tasks: 2 not recorded"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q", want)
		}
	}
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	next := start(t, store, "--config", w.config)
	for _, id := range ids {
		if r := next.reaches(id, "succeeded", "failed"); r.Status != "succeeded" || r.Attempts != 0 {
			t.Errorf("%+v", r)
		}
	}
	stop(next)
}

func TestOutage_AServerThatStartsWhileTheDatabaseIsAwayWaitsForIt(t *testing.T) {
	t.Parallel()
	database := pgtest.New(t, "fsync=off")
	store := database.DSN("postgres")
	if err := database.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	waits := func(args ...string) *process {
		p := begin(t, exec.Command(program(t), serveArgs(store, args...)...))
		p.waitLog("the database is not available; trying again")
		return p
	}
	told := waits("--grace", "20s")
	told.signal(syscall.SIGTERM)
	told.exits(0) // it has begun nothing
	impatient := waits("--store-wait", "1s")
	impatient.exits(1)
	if text := impatient.text(); !strings.Contains(text, "is the server running there") {
		t.Error("nothing says what is wrong")
	}
	patient := waits()
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	patient.waitLog("lastcall serves ")
	patient.signal(syscall.SIGTERM)
	patient.exits(0)
}

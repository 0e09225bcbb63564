package task

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// registry is a store that answers beats as a test says, and records them.
type registry struct {
	Store
	beats  []Beat
	answer func(Beat) (BeatReply, error)
}

func (r *registry) Heartbeat(_ context.Context, b Beat) (BeatReply, error) {
	r.beats = append(r.beats, b)
	if r.answer == nil {
		return BeatReply{}, nil
	}
	return r.answer(b)
}

// newBeats returns a heartbeat that is registered, with a set of runs.
func newBeats(t *testing.T, r *registry) *heartbeat {
	t.Helper()
	h := &heartbeat{store: r, mux: new(Mux), runs: new(runSet), log: slog.New(slog.DiscardHandler), lease: 15 * time.Second, unresponsive: new(detector).named, pauses: new(pauses)}
	if err := h.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// hold gives a heartbeat a run of its incarnation.
func (h *heartbeat) hold(t *testing.T, n int) *Run {
	r := numbered(n)
	r.task.Worker, r.ctx.parent = h.incarnation(), t.Context()
	h.runs.add(r)
	return r
}

// A regular beat, or one that lists all runs, may follow that which announces the stop. If it said
// that the worker runs, the death of its process would count as a crash.
func TestHeartbeat_DoesNotTakeBackTheAnnouncementOfAStop(t *testing.T) {
	store := new(registry)
	h := newBeats(t, store)
	for _, beat := range []func() error{
		func() error { return h.beat(t.Context(), WorkerStopping) },
		func() error { return h.beat(t.Context(), WorkerRunning) },
		func() error { _, err := h.missing(t.Context()); return err },
		func() error { return h.beat(t.Context(), WorkerStopped) },
	} {
		if err := beat(); err != nil {
			t.Fatal(err)
		}
	}
	want := []WorkerState{WorkerRunning, WorkerStopping, WorkerStopping, WorkerStopping, WorkerStopped}
	var got []WorkerState
	for _, b := range store.beats {
		got = append(got, b.State)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the beats announce %v, want %v", got, want)
	}
}

func TestHeartbeat_PassesOnWhatIsAskedOfItsRuns(t *testing.T) {
	store := new(registry)
	h := newBeats(t, store)
	want := map[*Run]error{h.hold(t, 1): ErrCancelled, h.hold(t, 2): ErrInterruptRequested, h.hold(t, 3): ErrLeaseLost, h.hold(t, 4): nil}
	store.answer = func(b Beat) (reply BeatReply, err error) {
		for _, f := range b.Runs {
			switch f.Run {
			case 1:
				reply.Commands = append(reply.Commands, PendingCommand{Fence: f, Verb: VerbCancel})
			case 2:
				reply.Commands = append(reply.Commands, PendingCommand{Fence: f, Verb: VerbInterrupt})
			case 3:
				reply.Lost = append(reply.Lost, f)
			}
		}
		return reply, nil
	}
	if err := h.beat(t.Context(), WorkerStopping); err != nil || store.beats[1].State != WorkerStopping {
		t.Errorf("announced %s, %v", store.beats[1].State, err)
	}
	for r, cause := range want {
		if got := r.ctx.cause(); !errors.Is(got, cause) {
			t.Errorf("run %s was ended by %v, want %v", r.task.ID, got, cause)
		}
	}
}

func TestHeartbeat_AWorkerThatWasTakenForDeadLosesItsRunsAndGoesOnUnderANewName(t *testing.T) {
	store := new(registry)
	h := newBeats(t, store)
	old, dead := h.hold(t, 1), h.incarnation()
	store.answer = func(b Beat) (BeatReply, error) {
		if b.Worker == dead {
			return BeatReply{}, ErrWorkerGone
		}
		return BeatReply{}, nil
	}
	if err := h.beat(t.Context(), WorkerRunning); err != nil {
		t.Fatal(err)
	}
	last := store.beats[len(store.beats)-1]
	if h.incarnation() == dead || last.Worker != h.incarnation() || last.Seq != 1 || !errors.Is(old.ctx.cause(), ErrLeaseLost) {
		t.Errorf("last beat %+v, the run was ended by %v", last, old.ctx.cause())
	}
	dead = h.incarnation()
	run := h.hold(t, 2)
	if err := h.beat(t.Context(), WorkerStopping); err != nil {
		t.Fatal(err)
	}
	if h.incarnation() != dead || !errors.Is(run.ctx.cause(), ErrLeaseLost) {
		t.Errorf("in a stop it goes on as %s; the run was ended by %v", h.incarnation(), run.ctx.cause())
	}
}

func TestHeartbeat_FindsWhatIsRunningForTheStoreAndNotHere(t *testing.T) {
	store := new(registry)
	h := newBeats(t, store)
	known := h.hold(t, 1)
	store.answer = func(b Beat) (BeatReply, error) {
		if !b.ListsAllRuns || len(b.Runs) != 1 {
			return BeatReply{}, nil
		}
		return BeatReply{Missing: []Task{known.task, {ID: "2", Run: 7, Worker: b.Worker}}}, nil
	}
	if found, err := h.missing(t.Context()); err != nil || len(found) != 1 || found[0].ID != "2" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestHeartbeat_CutsOffAfterASuspensionAndNotWhenTheWallClockIsSet(t *testing.T) {
	h := newBeats(t, new(registry)) // in no bubble, whose times have no monotonic clock
	run := h.hold(t, 1)
	run.policy = &policy{cutOff: true}
	const setForward = uint64(3600) << 30 // package time keeps the seconds of the wall clock there
	*(*uint64)(unsafe.Pointer(&h.reached)) -= setForward
	if now := time.Now(); now.Sub(h.reached) > time.Minute || now.Round(0).Sub(h.reached.Round(0)) < time.Hour {
		t.Fatalf("the wall clock was not set: %v, %v", now, h.reached)
	}
	if h.cutOff(); run.ctx.cause() != nil {
		t.Errorf("a wall clock that was set forward ended the run: %v", run.ctx.cause())
	}
	h.slept -= time.Hour // as if the machine had been suspended since
	if h.cutOff(); !errors.Is(run.ctx.cause(), errFrozen) {
		t.Errorf("after a suspension the run was ended by %v", run.ctx.cause())
	}
}

func TestHeartbeat_CutsOffWhatWantsItBeforeTheLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBeats(t, new(registry))
		run, other := h.hold(t, 1), h.hold(t, 2)
		run.policy = &policy{cutOff: true}
		time.Sleep(12*time.Second - 1)
		if h.cutOff(); run.ctx.cause() != nil {
			t.Errorf("too early: %v", run.ctx.cause())
		}
		if err := h.beat(t.Context(), WorkerRunning); err != nil {
			t.Fatal(err)
		}
		renewed := h.renewedSince()
		h.store = &registry{answer: func(Beat) (BeatReply, error) { return BeatReply{}, errors.New("away") }}
		for range 12 {
			time.Sleep(time.Second)
			if err := h.beat(t.Context(), WorkerRunning); err == nil {
				t.Fatal("the store is away")
			}
		}
		if h.cutOff(); !errors.Is(run.ctx.cause(), ErrDisconnected) || errors.Is(run.ctx.cause(), errFrozen) || other.ctx.cause() != nil {
			t.Errorf("after 12 s the runs were ended by %v and %v", run.ctx.cause(), other.ctx.cause())
		}
		if renewed.IsZero() || !h.renewedSince().IsZero() {
			t.Errorf("renewed since %v, and then %v", renewed, h.renewedSince())
		}
	})
}

package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// broken is a memstore that keeps every rule but one.
type broken struct {
	*memstore.Store
	add       func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error)
	claim     func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error)
	apply     func(ctx context.Context, c []task.Change) []error
	heartbeat func(ctx context.Context, b task.Beat) (task.BeatReply, error)
	reclaim   func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error)
	find      func(ctx context.Context, q task.Query) ([]task.Task, error)
	history   func(ctx context.Context, id string) ([]task.RunRecord, error)
	steps     func(ctx context.Context, id string) ([]task.StepRecord, error)
	log       func(ctx context.Context, id string) ([]byte, error)
	control   func(ctx context.Context, cmd task.Command) error

	controlAll func(ctx context.Context, cmd task.Command, seen []task.Standing) []error
	commands   func(ctx context.Context, id string) ([]task.CommandRecord, error)

	count  func(ctx context.Context, q task.CountQuery) (task.Counts, error)
	prune  func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error)
	wait   func(ctx context.Context, seen task.Generations) (task.Generations, error)
	close  func() error
	reopen func(*testing.T) task.Store
	put    func(ctx context.Context, put task.SchedulesPut) (task.ScheduleSet, error)
	due    func(ctx context.Context, req task.DueRequest) (task.DueReply, error)
	tick   func(ctx context.Context, req task.TickRequest) ([]task.TickResult, error)
}

func (b *broken) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	return b.add(ctx, tasks)
}
func (b *broken) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	return b.claim(ctx, req)
}
func (b *broken) Apply(ctx context.Context, c []task.Change) []error { return b.apply(ctx, c) }
func (b *broken) Heartbeat(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
	return b.heartbeat(ctx, beat)
}
func (b *broken) Reclaim(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
	return b.reclaim(ctx, req)
}
func (b *broken) Find(ctx context.Context, q task.Query) ([]task.Task, error) { return b.find(ctx, q) }
func (b *broken) History(ctx context.Context, id string) ([]task.RunRecord, error) {
	return b.history(ctx, id)
}
func (b *broken) Log(ctx context.Context, id string) ([]byte, error) { return b.log(ctx, id) }
func (b *broken) Control(ctx context.Context, cmd task.Command) error {
	return b.control(ctx, cmd)
}
func (b *broken) ControlAll(ctx context.Context, cmd task.Command, seen []task.Standing) []error {
	return b.controlAll(ctx, cmd, seen)
}
func (b *broken) Commands(ctx context.Context, id string) ([]task.CommandRecord, error) {
	return b.commands(ctx, id)
}
func (b *broken) Count(ctx context.Context, q task.CountQuery) (task.Counts, error) {
	return b.count(ctx, q)
}
func (b *broken) Prune(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
	return b.prune(ctx, req)
}
func (b *broken) Wait(ctx context.Context, seen task.Generations) (task.Generations, error) {
	return b.wait(ctx, seen)
}
func (b *broken) Close() error { return b.close() }

func whole() *broken {
	s := memstore.New()
	return &broken{Store: s, add: s.Add, claim: s.Claim, apply: s.Apply, heartbeat: s.Heartbeat, reclaim: s.Reclaim, find: s.Find,
		history: s.History, steps: s.Steps, log: s.Log, control: s.Control, controlAll: s.ControlAll, commands: s.Commands, count: s.Count, prune: s.Prune, wait: s.Wait, close: s.Close,
		put: s.PutSchedules, due: s.DueSchedules, tick: s.Tick}
}

// breaches has a way to break each rule.
var breaches = map[string]func(b *broken){
	"preface": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			return inner(context.WithoutCancel(ctx), q)
		}
	},
	"1": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			added, err := inner(ctx, tasks)
			for i := range added {
				added[i].Outcome = task.OutcomeAdded
			}
			return added, err
		}
	},
	"2": func(b *broken) { b.reopen = func(*testing.T) task.Store { return memstore.New() } },
	"3": func(b *broken) {
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := inner(ctx, req)
			for i := range got {
				got[i].Run = int64(got[i].Runs)
			}
			return got, err
		}
	},
	"4": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			for i := range tasks {
				tasks[i].Delay = 0
			}
			return inner(ctx, tasks)
		}
	},
	"5": func(b *broken) {
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := inner(ctx, req)
			slices.Reverse(got)
			return got, err
		}
	},
	"6": func(b *broken) {
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			got, err := inner(ctx, req)
			if errors.Is(err, task.ErrWorkerGone) {
				err = nil
			}
			return got, err
		}
	},
	"7": func(b *broken) {
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			for i := range req.Kinds {
				req.Kinds[i].Limits = task.Limits{}
			}
			return inner(ctx, req)
		}
	},
	"8": func(b *broken) {
		eachChange(b, func(c *task.Change) {
			if now, err := b.Store.Find(context.Background(), task.Query{IDs: []string{c.Task}}); err == nil && len(now) == 1 {
				c.Run, c.Worker = now[0].Run, now[0].Worker
			}
		})
	},
	"9": func(b *broken) {
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			errs := inner(ctx, changes)
			for i := range errs {
				if errors.Is(errs[i], task.ErrAlreadyFinished) {
					errs[i] = nil
				}
			}
			return errs
		}
	},
	"10": func(b *broken) {
		inner := b.apply
		b.apply = func(ctx context.Context, changes []task.Change) []error {
			errs := make([]error, len(changes))
			for i := range changes {
				if errs[i] = inner(ctx, changes[i:i+1])[0]; errs[i] != nil {
					for ; i < len(errs); i++ {
						errs[i] = errors.New("held back")
					}
					break
				}
			}
			return errs
		}
	},
	"11": func(b *broken) {
		eachChange(b, func(c *task.Change) {
			if c.Checkpoint == nil {
				c.Checkpoint = []byte{}
			}
		})
	},
	"12": func(b *broken) {
		inner := b.heartbeat
		b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
			reply, err := inner(ctx, beat)
			if errors.Is(err, task.ErrWorkerGone) {
				err = nil
			}
			return reply, err
		}
	},
	"13": func(b *broken) {
		last := uint64(0)
		eachBeat(b, func(beat *task.Beat) {
			if beat.Seq > 1 {
				last++
				beat.Seq += 100 * last // the last to come wins
			}
		})
	},
	"14": func(b *broken) { eachReply(b, func(r *task.BeatReply) { r.Lost = nil }) },
	"15": func(b *broken) {
		inner := b.reclaim
		b.reclaim = func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
			if req.Evidence {
				b.Kill(req.Worker)
			}
			return inner(ctx, req)
		}
	},
	"16": func(b *broken) {
		inner := b.reclaim
		b.reclaim = func(ctx context.Context, req task.ReclaimRequest) (task.ReclaimReply, error) {
			left, err := inner(ctx, req)
			left.Done = len(left.Tasks) < 2
			return left, err
		}
	},
	"17": func(b *broken) {
		inner := b.heartbeat
		b.heartbeat = func(ctx context.Context, beat task.Beat) (task.BeatReply, error) {
			if beat.State == task.WorkerStopped {
				beat.State = task.WorkerStopping
			}
			return inner(ctx, beat)
		}
	},
	"18": func(b *broken) {
		inner := b.find
		b.find = func(ctx context.Context, q task.Query) ([]task.Task, error) {
			found, err := inner(ctx, q)
			slices.Reverse(found)
			return found, err
		}
	},
	"19": func(b *broken) {
		inner := b.history
		b.history = func(ctx context.Context, id string) ([]task.RunRecord, error) {
			runs, err := inner(ctx, id)
			if errors.Is(err, task.ErrClosed) {
				err = nil
			}
			return runs, err
		}
	},
	"20": func(b *broken) {
		inner := b.wait
		b.wait = func(ctx context.Context, seen task.Generations) (task.Generations, error) {
			now, err := inner(ctx, task.Generations{})
			if err == nil && seen != (task.Generations{}) { // only what comes from now on
				return inner(ctx, now)
			}
			return now, err
		}
	},
	"21": func(b *broken) {
		inner := b.add
		b.add = func(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
			tasks = slices.Clone(tasks)
			for i := range tasks {
				if tasks[i].Key != "" {
					tasks[i].Key += tasks[i].ID
				}
			}
			return inner(ctx, tasks)
		}
	},
	"22": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			if cmd.Verb == task.VerbPause {
				return nil
			}
			return inner(ctx, cmd)
		}
	},
	"23": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			if cmd.Verb == task.VerbCancel {
				if now, err := b.Store.Find(ctx, task.Query{IDs: []string{cmd.Task}}); err == nil && len(now) == 1 && now[0].Status == task.StatusRunning {
					return nil // forgotten
				}
			}
			return inner(ctx, cmd)
		}
	},
	"24": func(b *broken) {
		inner := b.control
		b.control = func(ctx context.Context, cmd task.Command) error {
			if cmd.Verb == task.VerbRetry {
				return nil
			}
			return inner(ctx, cmd)
		}
	},
	"25": func(b *broken) {
		told := make(map[task.PendingCommand]bool)
		eachReply(b, func(r *task.BeatReply) {
			r.Commands = slices.DeleteFunc(r.Commands, func(a task.PendingCommand) bool { return told[a] })
			for _, a := range r.Commands {
				told[a] = true
			}
		})
	},
	"26": func(b *broken) {
		inner := b.claim
		b.claim = func(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
			req.Suspects = max(req.Suspects, 1)
			return inner(ctx, req)
		}
	},
	"27": func(b *broken) {
		inner := b.log
		b.log = func(ctx context.Context, id string) ([]byte, error) {
			got, err := inner(ctx, id)
			return []byte(strings.ToValidUTF8(string(got), "?")), err
		}
	},
	"28": func(b *broken) {
		inner := b.history
		b.history = func(ctx context.Context, id string) ([]task.RunRecord, error) {
			runs, err := inner(ctx, id)
			return runs[:min(len(runs), 10)], err
		}
	},
	"29": func(b *broken) {
		inner := b.prune
		b.prune = func(ctx context.Context, req task.PruneRequest) (task.PruneReply, error) {
			req.Age = 0
			return inner(ctx, req)
		}
	},
	"30": func(b *broken) {
		inner := b.count
		b.count = func(ctx context.Context, q task.CountQuery) (task.Counts, error) {
			counts, err := inner(ctx, q)
			counts.Tasks = slices.DeleteFunc(counts.Tasks, func(c task.Count) bool { return c.Status == task.StatusCancelled })
			return counts, err
		}
	},
	"31": func(b *broken) { eachReply(b, func(r *task.BeatReply) { r.Missing = nil }) },
	"32": func(b *broken) { eachAdd(b, knowsNoConflict) },
	"34": func(b *broken) {
		inner := b.count
		b.count = func(ctx context.Context, q task.CountQuery) (task.Counts, error) {
			q.Lines = 0
			return inner(ctx, q)
		}
	},
	"33": func(b *broken) { eachBeat(b, func(beat *task.Beat) { beat.Unresponsive = nil }) },
	"35": losesMeta,
	"36": keepsTheLog,
	"37": forgetsRetention,
	"38": func(b *broken) { eachClaim(b, func(req *task.ClaimRequest) { req.Interrupted = false }) },
	"39": deafToStops,
	"40": byName,
	"41": skipsNothing,
	"42": func(b *broken) { eachChange(b, losesPlace) },
	"43": forgetsBounds,
	"44": takesAnyPriority,
	"45": pausesWithoutRuns,
	"46": putsWhateverItWas, "47": ticksOfAnyGeneration,
	"48": trustsItsOwnClock, "49": neverAlone,
	"50": replacesNothing, "51": holdsForNoTime,
	"52": goesOnByTheTask, "53": cutsShort,
	"54": trustsWhatWasSeen,
	"55": keepsCommands, "56": prunesSets,
}

// A case that has not ended after aWhile complains of a broken store; after forever, of any store.
const aWhile, forever = 2 * time.Second, time.Minute

// try runs a case on a store and reports whether the case complains, or does not end within a time.
func try(t *testing.T, r rule, b *broken, twice bool, within time.Duration) (complains bool) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	rec := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if recover() != nil { // an answer that no store may give
				rec.failed.Store(true)
			}
		}()
		var s task.Store = b
		if twice {
			s = &repeating{Store: b, tb: rec}
		}
		r.check(&T{TB: rec, Store: s, bare: b, engine: Engine{Kill: func(_ *testing.T, _ task.Store, worker string) { b.Kill(worker) }, Reopen: b.reopen}})
	}()
	<-done
	return rec.Failed()
}

func TestSuite_ABrokenStoreIsCaughtByTheRuleThatItBreaks(t *testing.T) {
	seen := make(map[string]bool)
	for _, group := range groups {
		for _, r := range group {
			seen[r.numbers] = true
			if reasons[r.numbers] == "" {
				t.Errorf("rule %s has no reason", r.numbers)
			}
			if try(t, r, whole(), false, forever) {
				t.Errorf("rule %s (%s) complains of a whole store", r.numbers, r.says)
			}
		}
	}
	for number := range reasons {
		if !seen[number] {
			t.Errorf("rule %s has no case", number)
		}
		t.Run("rule "+number, func(t *testing.T) {
			breach := breaches[number]
			if breach == nil {
				t.Fatal("nothing breaks it")
			}
			caught := 0
			for _, r := range slices.Concat(groups...) {
				if r.numbers != number {
					continue
				}
				b := whole()
				breach(b)
				if try(t, r, b, false, aWhile) {
					caught++
				}
			}
			if caught == 0 {
				t.Error("a store that breaks it was not caught")
			}
		})
	}
	if len(breaches) != len(reasons) {
		t.Errorf("%d breaches for %d rules", len(breaches), len(reasons))
	}
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/clock"
	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/proxy"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// run is one run of the harness: the processes, their load, the faults, and the record.
type run struct {
	opt     options
	dir     string // kept: the history, the schedule, the logs
	scratch string // removed: sockets, the store
	out     io.Writer

	rec      *record
	hub      *hub
	store    store
	net      *proxy.Proxy            // between the processes and PostgreSQL
	clocks   map[string]*clock.Clock // of the workers, by slot
	launcher *launcher
	progress *progress
	load     *load
	workers  []*slot
	clients  []*slot
	kinds    []kind
	skipped  map[string]string // why a kind of fault cannot be made here, by its name
	hostile  string            // what confines hostile children; empty: there are none

	schedules []history.Schedule
	environ   []string // of the driver's processes, in addition

	storeFault sync.Mutex     // held by the current fault of the store
	waits      sync.WaitGroup // the goroutines that wait for the processes
	stop       context.CancelCauseFunc
}

// fail ends the run because the harness itself cannot continue.
func (r *run) fail(err error) { r.stop(err) }

// slot returns the slot of a fault. A schedule may have been made for more slots than there are.
func (r *run) slot(name string) *slot {
	for _, some := range [][]*slot{r.workers, r.clients} {
		for _, s := range some {
			if s.name == name {
				return s
			}
		}
	}
	if strings.HasPrefix(name, "c") {
		return r.clients[0]
	}
	return r.workers[0]
}

func (r *run) memory() cgroup { return ownCgroup(memoryController, filepath.Base(r.scratch)) }

// newRun creates what a run needs. Its close removes that again.
func newRun(ctx context.Context, opt options, scratch string, out io.Writer) (r *run, err error) {
	r = &run{opt: opt, dir: opt.dir, scratch: scratch, out: out, progress: newProgress(), skipped: make(map[string]string), clocks: make(map[string]*clock.Clock), stop: func(error) {}}
	logs := filepath.Join(r.dir, "logs")
	if err := os.RemoveAll(logs); err != nil { // from an earlier run
		return nil, err
	}
	for _, dir := range []string{logs, filepath.Join(scratch, "tmp")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a directory for the run: %w", err)
		}
	}
	r.launcher = newLauncher()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.rec, err = newRecord(filepath.Join(r.dir, "history.jsonl")); err != nil {
		return r, err
	}
	if r.hub, err = newHub(filepath.Join(scratch, "hub"), r.rec, r.progress); err != nil {
		return r, err
	}
	if err := errors.Join(r.choose(), r.confineHostile()); err != nil {
		return r, err
	}
	if r.store, err = openStore(ctx, r); err != nil {
		return r, err
	}
	r.load = newLoad(r)
	for n := range opt.workers {
		s, err := r.workerSlot(fmt.Sprintf("w%d", n+1), n > 0 && n == opt.workers-1)
		if err != nil {
			return r, err
		}
		r.workers = append(r.workers, s)
	}
	for n := range opt.clients {
		name := fmt.Sprintf("c%d", n+1)
		r.clients = append(r.clients, newSlot(name, r.driver("client", name)))
	}
	return r, nil
}

// workerSlot returns a slot for a worker. The last one is for the real server, if that takes part.
func (r *run) workerSlot(name string, last bool) (*slot, error) {
	if last && r.opt.program != "" {
		return r.programSlot(name)
	}
	if r.opt.clock {
		c, err := clock.New(r.clockFile(name))
		if err != nil {
			return nil, err
		}
		r.clocks[name] = c
	}
	return newSlot(name, r.driver("worker", name)), nil
}

// close removes what the run has created. It is called once, when no process of a slot is running
// any more.
func (r *run) close() error {
	r.waits.Wait()
	var errs []error
	if r.hub != nil {
		errs = append(errs, r.hub.close())
	}
	if r.store != nil {
		errs = append(errs, r.store.close())
	}
	for _, c := range r.clocks {
		errs = append(errs, c.Close())
	}
	r.launcher.close()
	if r.rec != nil {
		errs = append(errs, r.rec.close())
	}
	errs = append(errs, removeCgroups(filepath.Base(r.scratch)))
	return errors.Join(errs...)
}

// do executes the run: it starts everything, makes faults for the duration, lets everything
// recover, stops everything, and returns the whole history.
func (r *run) do(ctx context.Context, faults []Fault) (h history.History, err error) {
	ctx, r.stop = context.WithCancelCause(ctx)
	defer r.stop(nil)
	if err := r.setup(ctx); err != nil {
		return h, err
	}
	watched := func() {}
	if r.opt.program != "" {
		watched = r.watchChildren(ctx, lookForChildren)
		defer watched()
	}
	keepers := r.fill(ctx)
	defer func() { err = errors.Join(err, keepers.close()) }()
	if err := r.allServe(ctx); err != nil {
		return h, err
	}
	fmt.Fprintf(r.out, "%d workers and %d clients are ready; %d faults in %v\n", len(r.workers), len(r.clients), len(faults), r.opt.duration)
	r.disturb(ctx, faults)
	if err := r.recover(ctx, len(faults)+1); err != nil {
		return h, err
	}
	if err := errors.Join(keepers.close(), r.store.unpool()); err != nil {
		return h, err
	}
	watched()
	state, err := r.inspect(ctx)
	if err != nil {
		return h, err
	}
	state.Left = append(state.Left, r.leftProcesses()...)
	return history.History{Events: r.rec.all(), State: state, Lease: lease, Margin: margin}, nil
}

// keepers keep the slots filled.
type keepers struct {
	run    *run
	cancel context.CancelFunc
	all    sync.WaitGroup
	once   sync.Once
}

// fill starts the processes of all slots, and keeps the slots filled.
func (r *run) fill(ctx context.Context) *keepers {
	k := &keepers{run: r}
	ctx, k.cancel = context.WithCancel(ctx)
	for _, s := range append(append([]*slot{}, r.clients...), r.workers...) {
		k.all.Go(func() { s.keep(ctx, r) })
	}
	return k
}

// close stops all processes. Clients stop first, since no more calls are needed. Then all workers
// stop at the same time, each with its grace.
func (k *keepers) close() error {
	k.once.Do(func() {
		k.cancel()
		k.all.Wait()
		var all sync.WaitGroup
		for _, s := range k.run.clients {
			all.Go(func() {
				if p := s.current(); p != nil && p.alive() {
					p.peer.hangUp()
					if !p.endsWithin(context.Background(), grace+margin) {
						p.kill()
					}
				}
			})
		}
		all.Wait()
		for _, s := range k.run.workers {
			all.Go(func() {
				if p := s.current(); p != nil && p.alive() {
					p.terminate(grace, margin)
				}
			})
		}
		all.Wait()
	})
	return nil
}

// allServe waits until a process of every slot is ready.
func (r *run) allServe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, some := range [][]*slot{r.clients, r.workers} {
		for _, s := range some {
			if _, err := s.serving(ctx); err != nil {
				return fmt.Errorf("%w: its logs are in %s", err, filepath.Join(r.dir, "logs"))
			}
		}
	}
	return nil
}

// disturb generates load and faults for the duration, and returns when both are over.
func (r *run) disturb(ctx context.Context, faults []Fault) {
	ctx, cancel := context.WithTimeout(ctx, r.opt.duration)
	defer cancel()
	var all sync.WaitGroup
	for n, s := range r.clients {
		rng := rand.New(rand.NewPCG(r.opt.seed, uint64(10+n)))
		all.Go(func() { r.load.drive(ctx, s, len(r.clients), rng) })
	}
	all.Go(func() { r.sample(ctx) })
	for _, f := range faults {
		all.Go(func() { r.play(ctx, f) })
	}
	all.Wait()
}

// play makes one fault at its time.
func (r *run) play(ctx context.Context, f Fault) {
	skip := func(why string) {
		r.rec.add(history.Event{Fault: &history.Fault{ID: f.ID, Kind: f.Kind, Skipped: why}})
	}
	for _, k := range r.kinds {
		if k.name != f.Kind {
			continue
		}
		if !wire.Pause(ctx, time.Duration(f.At)) {
			return
		}
		fmt.Fprintln(r.out, f)
		if err := k.do(ctx, r, f); err != nil {
			skip(err.Error())
		}
		return
	}
	why := r.skipped[f.Kind]
	if why == "" {
		why = "it is not among the kinds of this run"
	}
	skip(why)
}

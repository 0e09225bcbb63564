//go:build linux

package main

import (
	"context"
	"slices"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/server"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// storeTimes maps a fault of the store to its shortest and longest duration. A fault that is not
// listed is over at once. The durations are short, since only one fault of the store is made at a
// time, and an hour must have some twenty kinds fifty times each. To begin and to undo a fault also
// takes time, 1.3 s on average and up to 17 s on a busy machine (when a dump is restored), so that
// the store is away for longer than a lease in any case.
var storeTimes = map[string][2]time.Duration{
	server.FileLocked:        {300 * time.Millisecond, 3 * time.Second},
	server.FileDiskFull:      {500 * time.Millisecond, 3 * time.Second},
	server.RestartFast:       {100 * time.Millisecond, time.Second},
	server.RestartImmediate:  {100 * time.Millisecond, time.Second},
	server.CrashUnsynced:     {300 * time.Millisecond, time.Second},
	server.FailoverSync:      {200 * time.Millisecond, time.Second},
	server.FailoverAsync:     {200 * time.Millisecond, time.Second},
	server.StandbyOnly:       {300 * time.Millisecond, 1500 * time.Millisecond},
	server.ReadOnly:          {300 * time.Millisecond, 1500 * time.Millisecond},
	server.OutOfConnections:  {300 * time.Millisecond, 1500 * time.Millisecond},
	server.DiskFullData:      {300 * time.Millisecond, 1500 * time.Millisecond},
	server.DiskFullWAL:       {300 * time.Millisecond, 1500 * time.Millisecond},
	server.PoolerSession:     {700 * time.Millisecond, 1500 * time.Millisecond},
	server.PoolerTransaction: {700 * time.Millisecond, 1500 * time.Millisecond},
	server.Serialization:     {700 * time.Millisecond, 1500 * time.Millisecond},
	server.Deadlocks:         {700 * time.Millisecond, 1500 * time.Millisecond},
	server.LockExclusive:     {300 * time.Millisecond, 1500 * time.Millisecond},
	server.CreateIndex:       {300 * time.Millisecond, 1500 * time.Millisecond},
	server.Reindex:           {300 * time.Millisecond, 1500 * time.Millisecond},
	server.LongSnapshot:      {700 * time.Millisecond, 1800 * time.Millisecond},
	server.Publication:       {700 * time.Millisecond, 1500 * time.Millisecond},
	server.ClockForward:      {2 * time.Second, 4 * time.Second},
	server.ClockBack:         {2 * time.Second, 4 * time.Second},
}

// settle is the pause after a fault of the store.
const settle = 1200 * time.Millisecond

// reachable lists the faults during which every process can reach the store and write.
var reachable = []string{server.FileKilledInCheckpoint, server.Serialization, server.Deadlocks, server.LongSnapshot, server.Publication,
	server.ClockForward, server.ClockBack}

// clocks lists the faults that move the clock of the store.
var clocks = []string{server.ClockForward, server.ClockBack}

// storeKinds are the faults of the databases.
func storeKinds() (kinds []kind) {
	add := func(store string, faults []server.Fault) {
		for _, f := range faults {
			k := kind{name: f.Kind, what: f.Doc, scope: theStore, store: store, asked: slices.Contains(clocks, f.Kind), timing: instant(settle),
				needs: func(*run) error { return f.Needs() }}
			if t, ok := storeTimes[f.Kind]; ok {
				k.timing = between(t[0], t[1], settle)
			}
			k.do = func(ctx context.Context, r *run, planned Fault) error {
				return disturbStore(ctx, r, planned, f.Loses != "")
			}
			kinds = append(kinds, k)
		}
	}
	add(sqlite, server.FileFaults())
	add(postgres, server.ClusterFaults())
	return kinds
}

// catchUp sets the store's clock an hour ahead if a fault may have done so before, so that what was
// delayed by that clock becomes due.
func (r *run) catchUp(ctx context.Context, number int) (end func() error, err error) {
	if r.opt.store == sqlite && slices.ContainsFunc(r.kinds, func(k kind) bool { return k.name == clockForward }) {
		return func() error { return r.setClocks(0) }, r.setClocks(time.Hour)
	}
	if r.skipped[server.ClockForward] != "" || !slices.ContainsFunc(r.kinds, func(k kind) bool { return k.name == server.ClockForward }) {
		return func() error { return nil }, nil
	}
	e := history.Fault{ID: number, Kind: server.ClockForward, Clocks: true, Detail: "so that delays end that began in it"}
	begin := e
	r.rec.add(history.Event{Fault: &begin})
	back, err := r.store.begin(ctx, server.ClockForward)
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := back()
		e.Over = true
		r.rec.add(history.Event{Fault: &e})
		return err
	}, nil
}

// disturbStore makes a fault of the database. The fault starts to have effects before its begin has
// returned, and still has some after its end was requested. The history's times include both.
func disturbStore(ctx context.Context, r *run, f Fault, lossy bool) error {
	r.storeFault.Lock()
	defer r.storeFault.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := history.Fault{ID: f.ID, Kind: f.Kind, Lossy: lossy, Cut: !slices.Contains(reachable, f.Kind), Clocks: slices.Contains(clocks, f.Kind)}
	begin := e
	r.rec.add(history.Event{Fault: &begin})
	e.Over = true
	defer func() {
		r.rec.add(history.Event{Fault: &e})
		if lossy {
			r.load.forgotten()
			r.progress.forget()
		}
	}()
	// The end of the time for faults does not cut short a fault that has begun: half a failover is not
	// a failover.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	end, err := r.store.begin(whole, f.Kind)
	if err != nil {
		e.Detail = "it could not begin: " + err.Error()
		return nil
	}
	wire.Pause(ctx, time.Duration(f.For))
	if e.Detail, err = end(); err != nil {
		r.fail(err)
	}
	return err
}

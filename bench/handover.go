package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// patient is a task that works until it is asked to stop, and then hands over.
var patient = task.Kind[empty]{Name: "patient", OnStop: task.InterruptOnStop}

func openAddress(address string) (task.Store, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return openSQLite(path)
	}
	return openPostgres(database{dsn: address})
}

// serveHandover serves the patient kind, and prints a line when it is ready.
func serveHandover(g *lastcall.Group, store task.Store, _ int) error {
	var mux task.Mux
	task.Handle(&mux, patient, func(ctx context.Context, r *task.Run, _ empty) error {
		<-ctx.Done()
		return r.HandOver(1)
	})
	w, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Logger: quiet})
	if err != nil {
		return err
	}
	if err := g.Go("worker", w.Serve); err != nil {
		return err
	}
	_, err = fmt.Println("ready")
	return err
}

func signalPostgres(sig syscall.Signal) func() (figures, error) {
	return func() (figures, error) {
		return withCluster(func(db database) (figures, error) { return handover(db.dsn, sig) })
	}
}

func signalSQLite(sig syscall.Signal) func() (figures, error) {
	return func() (figures, error) {
		return withFile(func(path string) (figures, error) { return handover("sqlite:"+path, sig) })
	}
}

// handover runs a task in one of two processes and ends that process by a signal. It measures until
// the other process has begun the task: after SIGTERM from the record of the interruption, after
// SIGKILL from the signal itself.
func handover(address string, sig syscall.Signal) (found figures, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := openAddress(address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	first, err := startReady(address)
	if err != nil {
		return nil, err
	}
	defer first.end()
	client := task.NewClient(store)
	e, err := patient.Enqueue(ctx, client, empty{}, nil)
	if err != nil {
		return nil, err
	}
	if _, err := runs(ctx, client, e.ID, 1); err != nil {
		return nil, err
	}
	second, err := startReady(address)
	if err != nil {
		return nil, err
	}
	defer second.end()
	// Let it poll for other workers, and become idle.
	time.Sleep(3 * time.Second / time.Duration(min(load, 10)))
	at := time.Now()
	if err := first.cmd.Process.Signal(sig); err != nil {
		return nil, err
	}
	history, err := runs(ctx, client, e.ID, 2)
	if err != nil {
		return nil, err
	}
	if sig == syscall.SIGTERM {
		at = history[0].Ended
	}
	return figures{duration: milliseconds(history[1].Started.Sub(at))}, nil
}

// runs waits until a task has n runs.
func runs(ctx context.Context, client *task.Client, id string, n int) ([]task.RunRecord, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		history, err := client.History(ctx, id)
		if err != nil || len(history) >= n {
			return history, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("task %s has %d runs, waiting for %d: %w", id, len(history), n, ctx.Err())
		}
	}
}

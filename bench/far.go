package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
)

// farTrip is the round trip over the network to the server, and farMany how many tasks a
// transaction enqueues in a batch.
const (
	farTrip = 2 * time.Millisecond
	farMany = 500
)

// farRounds returns how many transactions are timed.
func farRounds() int { return 50 / min(load, 10) }

// The figures of transactions over that network.
const (
	farOne   = "one task ms"
	farKeyed = "one with a key ms"
	far500   = "500 tasks ms"
)

// farTx times calls that enqueue in a transaction of the caller's over a network. Each call is
// timed without the beginning and the commit. The first round, in which statements are prepared, is
// left out.
func farTx(dsn string, calls map[string]func(ctx context.Context, tx pgx.Tx, n int) error) (figures, error) {
	ctx := context.Background()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	network := new(far)
	defer network.ended.Wait()
	cfg.DialFunc = network.dial
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing depends on it
	times := make(map[string][]float64)
	for n := range farRounds() + 1 {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for name, call := range calls {
				began := time.Now()
				if err := call(ctx, tx, n); err != nil {
					return err
				}
				if n > 0 {
					times[name] = append(times[name], milliseconds(time.Since(began)))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	found := make(figures)
	for name, all := range times {
		found[name] = quantile(all, 0.5)
	}
	return found, nil
}

func farPostgres() (figures, error) {
	return onPostgres(func(store task.Store, db database) (figures, error) {
		client, w, keyed := task.NewClient(store), nothings(farMany, slots), keyed(1)
		enqueue := func(w workload) func(context.Context, pgx.Tx, int) error {
			return func(ctx context.Context, tx pgx.Tx, n int) error {
				batch, err := w.batch(n, w.n)
				if err != nil {
					return err
				}
				_, err = client.WithTx(pgstore.Tx(tx)).EnqueueMany(ctx, batch)
				return err
			}
		}
		found, err := farTx(db.dsn, map[string]func(context.Context, pgx.Tx, int) error{
			farOne: func(ctx context.Context, tx pgx.Tx, _ int) error {
				_, err := noop.Enqueue(ctx, client.WithTx(pgstore.Tx(tx)), empty{}, nil)
				return err
			},
			farKeyed: enqueue(keyed), far500: enqueue(w),
		})
		return found, errors.Join(err, allAre(store, task.StatusQueued, (farRounds()+1)*(farMany+2)))
	})
}

// farRiver uses an insert-only client with River's defaults. It notifies workers at most once in
// 100 ms, so most transactions contain no notification.
func farRiver() (figures, error) {
	w := nothings(farMany, slots)
	return onRiver(func(_ *river.Client[pgx.Tx], pool *pgxpool.Pool, db database) (figures, error) {
		client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet})
		if err != nil {
			return nil, err
		}
		return farTx(db.dsn, map[string]func(context.Context, pgx.Tx, int) error{
			farOne: func(ctx context.Context, tx pgx.Tx, _ int) error {
				_, err := client.InsertTx(ctx, tx, empty{}, nil)
				return err
			},
			farKeyed: func(ctx context.Context, tx pgx.Tx, n int) error {
				_, err := client.InsertTx(ctx, tx, numbered{n}, nil)
				return err
			},
			far500: func(ctx context.Context, tx pgx.Tx, n int) error {
				_, err := client.InsertManyFastTx(ctx, tx, riverBatch(w, n, farMany))
				return err
			},
		})
	}, w)
}

// far is a network in which every packet takes half a round trip.
type far struct{ ended sync.WaitGroup }

// dial connects over this network.
func (f *far) dial(ctx context.Context, network, address string) (net.Conn, error) {
	server, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, client := net.Pipe()
	f.ended.Go(func() { f.carry(client, server) })
	f.ended.Go(func() { f.carry(server, client) })
	return near, nil
}

// carry copies from one side to the other, and delivers each piece when it is due.
func (f *far) carry(from, to net.Conn) {
	type piece struct {
		due  time.Time
		data []byte
	}
	pieces := make(chan piece, 1000)
	f.ended.Go(func() {
		defer func() { _, _ = from.Close(), to.Close() }() // the other direction ends too
		for one := range pieces {
			time.Sleep(time.Until(one.due))
			if _, err := to.Write(one.data); err != nil {
				break
			}
		}
		for range pieces { // drain: nobody needs the rest
		}
	})
	defer close(pieces)
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{time.Now().Add(farTrip / 2), buf[:n]}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = from.Close()
			}
			return
		}
	}
}

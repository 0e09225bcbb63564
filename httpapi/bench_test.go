package httpapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lastcall-go/lastcall/httpapi"
	"github.com/lastcall-go/lastcall/sqlitestore"
	"github.com/lastcall-go/lastcall/task"
)

// BenchmarkSubmitsOnSQLite counts durable submits a second, each a request of its own, from 64
// clients that keep their connections; all on this machine, so that the clients' work is in it.
func BenchmarkSubmitsOnSQLite(b *testing.B) {
	client := benchServer(b)
	const clients = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if _, err := client.Enqueue(context.Background(), "k", fmt.Appendf(nil, `{"n":%d}`, i), nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
}

// BenchmarkBatchesOnSQLite counts durable submits a second in batches of a thousand, from one client.
func BenchmarkBatchesOnSQLite(b *testing.B) {
	client := benchServer(b)
	tasks := make([]task.NewTask, b.N)
	for i := range tasks {
		var err error
		if tasks[i], err = task.Prepare("k", fmt.Appendf(nil, `{"n":%d}`, i), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for len(tasks) > 0 {
		n := min(len(tasks), 1000)
		if _, err := client.EnqueueMany(context.Background(), tasks[:n]); err != nil {
			b.Fatal(err)
		}
		tasks = tasks[n:]
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
}

func benchServer(b *testing.B) *httpapi.Client {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlitestore.Open(b.Context(), sqlitestore.Config{Path: filepath.Join(b.TempDir(), "tasks.db"), Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	h, err := httpapi.New(httpapi.Config{Store: store, Addr: l.Addr(), Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	srv := httpapi.NewServer(h, log)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) }) // until Close
	client, err := httpapi.NewClient(httpapi.ClientConfig{Server: "http://" + l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = client.Close()
		_ = srv.Close()
		wg.Wait()
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return client
}

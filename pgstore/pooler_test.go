package pgstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/storetest"
	"github.com/lastcall-go/lastcall/task"
)

// pooler stands before a server as PgBouncer does, as far as a client can see at the start: it
// makes up the number by which a connection is cancelled.
func pooler(t *testing.T, server *pgtest.Server) (dsn string) {
	t.Helper()
	u, err := url.Parse(server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { l.Close() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			behind, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() { io.Copy(behind, client); behind.Close() })
			all.Go(func() { renumber(client, behind); client.Close() })
		}
	})
	return "postgres://lastcall@" + l.Addr().String() + "/postgres?sslmode=disable"
}

// renumber passes the server's messages on, and another process number than its own.
func renumber(client io.Writer, server io.Reader) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(server, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		if head[0] == 'K' {
			binary.BigEndian.PutUint32(body, 1<<30+binary.BigEndian.Uint32(body))
		}
		if _, err := client.Write(append(head[:], body...)); err != nil {
			return
		}
		if head[0] == 'K' {
			io.Copy(client, server)
			return
		}
	}
}

func TestBehindAPoolerTheStoreKeepsItsRulesByLeaseAlone(t *testing.T) {
	dsn := pooler(t, pgtest.New(t, "fsync=off"))
	schemas := make(map[string]string)
	store := func(t *testing.T) task.Store {
		if schemas[t.Name()] == "" {
			schemas[t.Name()] = fmt.Sprintf("s%d", len(schemas))
		}
		return openAt(t, Config{DSN: dsn, Schema: schemas[t.Name()], Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	}
	storetest.Run(t, storetest.Engine{Open: store, Reopen: store})
}

func TestAPoolerIsNoticedAndNoLockIsBelieved(t *testing.T) {
	server := pgtest.New(t, "fsync=off")
	var log bytes.Buffer
	behind := openAt(t, Config{DSN: pooler(t, server), Migrate: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	direct := openAt(t, Config{DSN: server.DSN("postgres")})
	defer closed(t, direct)
	runOne(t, behind)
	if all, err := direct.Workers(context.WithoutCancel(t.Context())); err != nil || len(all) != 1 || all[0].Life != task.LifeUnknown {
		t.Errorf("%+v, %v", all, err)
	}
	closed(t, behind) // its log is complete then
	if !strings.Contains(log.String(), "through a pooler") {
		t.Errorf("the log: %s", &log)
	}
}

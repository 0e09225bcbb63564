package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// bothServers is a service on HTTP and gRPC, with gRPC's own health service and a bidirectional
// stream, as in docs/shutdown.md.
type bothServers struct {
	g        *lastcall.Group
	web, rpc string
}

const (
	// notice is how long clients take to notice that a service stops, and least is how long it stays
	// open for them.
	notice = 300 * time.Millisecond
	least  = 2 * time.Second
)

func serveBoth(t *testing.T) *bothServers {
	t.Helper()
	g, err := lastcall.New(t.Context(), lastcall.Config{Delay: least, Grace: 30 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	web, rpc := listen(), listen()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(10 * time.Millisecond)
		_, _ = io.WriteString(w, "done")
	})
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(unary(g)), grpc.ChainStreamInterceptor(untilLastCall(g, healthpb.Health_Watch_FullMethodName), stream(g)))
	state := health.NewServer()
	healthpb.RegisterHealthServer(srv, state)
	srv.RegisterService(&chat, struct{}{})
	err = errors.Join(
		g.HTTP("api", &http.Server{Handler: answer, ReadHeaderTimeout: 5 * time.Second}, web),
		g.Serve("grpc", srv, rpc),
		g.Go("health", func(ctx context.Context) error { // a probe of grpc.health.v1 learns of last call
			<-lastcall.LastCall(ctx)
			state.Shutdown()
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return &bothServers{g: g, web: "http://" + web.Addr().String(), rpc: rpc.Addr().String()}
}

// untilLastCall is an interceptor of docs/shutdown.md.
func untilLastCall(g *lastcall.Group, method string) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if info.FullMethod == method {
			s = groupStream{s, lastcall.UntilLastCall(g.Context(s.Context()))}
		}
		return handle(srv, s)
	}
}

var (
	talking = grpc.StreamDesc{StreamName: "Talk", Handler: talk, ServerStreams: true, ClientStreams: true}
	chat    = grpc.ServiceDesc{ServiceName: "test.Chat", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{talking}}
)

// talk echoes each message, and says goodbye at last call. Only the return of talk ends RecvMsg, so
// RecvMsg waits in a goroutine of its own.
func talk(_ any, s grpc.ServerStream) error {
	heard, failed := make(chan *healthpb.HealthCheckRequest), make(chan error, 1)
	go func() {
		for {
			m := new(healthpb.HealthCheckRequest)
			if err := s.RecvMsg(m); err != nil {
				failed <- err
				return
			}
			select {
			case heard <- m:
			case <-s.Context().Done(): // talk has returned
				return
			}
		}
	}()
	for {
		select {
		case m := <-heard:
			if err := s.SendMsg(m); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-lastcall.LastCall(s.Context()):
			return s.SendMsg(&healthpb.HealthCheckRequest{Service: "goodbye"})
		}
	}
}

// crowd is a set of clients that call the service again and again. They use the instance they know
// of.
type crowd struct {
	t               *testing.T
	at              atomic.Pointer[bothServers]
	calls, goodbyes atomic.Int64
	end             chan struct{}
	all             sync.WaitGroup
}

// again makes a client call until the end, and then closes the client's own connections.
func (c *crowd) again(what string, pause time.Duration, call func(context.Context, *bothServers, *grpc.ClientConn) error) {
	c.all.Go(func() {
		conns := make(map[string]*grpc.ClientConn)
		defer func() {
			for _, conn := range conns {
				_ = conn.Close()
			}
		}()
		for {
			select {
			case <-c.end:
				return
			case <-time.After(pause):
			}
			at := c.at.Load()
			conn := conns[at.rpc]
			if conn == nil {
				var err error
				if conn, err = grpc.NewClient(at.rpc, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
					c.t.Error(err)
					return
				}
				conns[at.rpc] = conn
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := call(ctx, at, conn)
			cancel()
			if err != nil {
				c.t.Errorf("%s: %v", what, err)
				return
			}
			c.calls.Add(1)
		}
	})
}

func (c *crowd) get(ctx context.Context, at *bothServers, _ *grpc.ClientConn) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.web, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "done" {
		return fmt.Errorf("%q, %w", b, err)
	}
	return nil
}

func (c *crowd) check(ctx context.Context, _ *bothServers, conn *grpc.ClientConn) error {
	_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// watch listens to the health service until last call.
func (c *crowd) watch(ctx context.Context, _ *bothServers, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		select {
		case <-c.end:
			return nil
		default:
		}
		_, err = s.Recv()
	}
	if status.Code(err) != codes.Canceled {
		return err
	}
	c.goodbyes.Add(1)
	return nil
}

// chat talks until the other side says goodbye.
func (c *crowd) chat(ctx context.Context, _ *bothServers, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &talking, "/test.Chat/Talk")
	if err != nil {
		return err
	}
	for n := range 1_000_000 {
		said, heard := &healthpb.HealthCheckRequest{Service: fmt.Sprint(n)}, new(healthpb.HealthCheckRequest)
		if err := s.SendMsg(said); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := s.RecvMsg(heard); err != nil {
			return err
		}
		if heard.Service == "goodbye" {
			c.goodbyes.Add(1)
			if err := s.RecvMsg(heard); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}
		select {
		case <-c.end:
			return s.CloseSend()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func TestGRPC_BesideHTTPTwoRolloutsUnderLoadFailNoCallAndStreamsHearOfLastCall(t *testing.T) {
	now := serveBoth(t)
	c := &crowd{t: t, end: make(chan struct{})}
	c.at.Store(now)
	for range 4 {
		c.again("HTTP", 0, c.get)
		c.again("a call", 5*time.Millisecond, c.check)
	}
	c.again("the health service", 20*time.Millisecond, c.watch)
	c.again("a stream in both directions", 20*time.Millisecond, c.chat)
	for range 2 {
		before := c.calls.Load()
		for deadline := time.Now().Add(20 * time.Second); c.calls.Load() < before+100; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls in 20 s", c.calls.Load()-before)
			}
		}
		old, said := now, c.goodbyes.Load()
		now = serveBoth(t)
		old.g.Stop(nil)
		time.Sleep(notice) // clients keep using the old instance
		c.at.Store(now)
		r := old.g.Wait()
		if r.ExitCode() != 0 || r.Took > 10*time.Second {
			t.Errorf("exit code %d after %v: %v", r.ExitCode(), r.Took, r)
		}
		if c.goodbyes.Load() < said+2 {
			t.Errorf("%d streams heard of last call, want both", c.goodbyes.Load()-said)
		}
	}
	close(c.end)
	now.g.Stop(nil) // this ends the watch
	c.all.Wait()
	if r := now.g.Wait(); r.ExitCode() != 0 {
		t.Errorf("%v", r)
	}
	t.Logf("%d calls", c.calls.Load())
}

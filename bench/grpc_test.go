package main

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// serveGRPC serves the health service in a group. Each unary call reports that it has arrived and
// then waits for release, or, if obey is set, for the end of its context.
func serveGRPC(t *testing.T, cfg lastcall.Config, obey bool) (g *lastcall.Group, client healthpb.HealthClient, arrived, release chan struct{}) {
	t.Helper()
	cfg.Logger = quiet
	g, err := lastcall.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, release = make(chan struct{}, 1), make(chan struct{})
	srv := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		arrived <- struct{}{}
		var ended <-chan struct{}
		if obey {
			ended = ctx.Done()
		}
		select {
		case <-release:
			return h(ctx, req)
		case <-ended:
			return nil, ctx.Err()
		}
	}))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	if err := g.Serve("grpc", srv, l); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return g, healthpb.NewHealthClient(conn), arrived, release
}

func check(ctx context.Context, client healthpb.HealthClient) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
		result <- err
	}()
	return result
}

func TestGRPC_ACallInFlightFinishesInTheDrain(t *testing.T) {
	g, client, arrived, release := serveGRPC(t, lastcall.Config{}, false)
	result := check(t.Context(), client)
	<-arrived
	g.Stop(nil)
	refusedWithin(t, client)
	close(release)
	if err := <-result; err != nil {
		t.Errorf("the call in flight ended with %v", err)
	}
	if r := g.Wait(); r.ExitCode() != 0 {
		t.Errorf("exit code %d: %v", r.ExitCode(), r)
	}
}

// refusedWithin waits until new calls are refused, as they are once GracefulStop has closed the
// listener.
func refusedWithin(t *testing.T, client healthpb.HealthClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		attempt, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err := client.Watch(attempt, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(false))
		stop()
		if err != nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("new calls are still accepted in the drain")
		}
	}
}

func TestGRPC_ACallBeyondTheBudgetIsCancelledAtInterrupt(t *testing.T) {
	g, client, arrived, _ := serveGRPC(t, lastcall.Config{Grace: 4 * time.Second, Reserve: 2 * time.Second}, true)
	result := check(t.Context(), client)
	<-arrived
	began := time.Now()
	g.Stop(nil)
	r := g.Wait()
	if err := <-result; err == nil {
		t.Error("the call was answered, although it was cut off")
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the stop took %v of a grace of 4s", took)
	}
	if len(r.Interrupted) != 1 || r.ExitCode() != 75 {
		t.Errorf("exit code %d, want 75: %v", r.ExitCode(), r)
	}
}

func TestGRPC_AnUnresponsiveCallIsAbandonedByName(t *testing.T) {
	g, client, arrived, release := serveGRPC(t, lastcall.Config{Grace: 2 * time.Second}, false)
	defer close(release)
	check(t.Context(), client)
	<-arrived
	g.Stop(nil)
	r := g.Wait()
	if len(r.Abandoned) == 0 || r.Abandoned[0].Name != "grpc calls in flight" || r.ExitCode() != 3 {
		t.Errorf("exit code %d, want 3 and the name of the server: %v", r.ExitCode(), r)
	}
}

// The interceptors of docs/shutdown.md.

func unary(g *lastcall.Group) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		return handle(g.Context(ctx), req)
	}
}

func stream(g *lastcall.Group) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		return handle(srv, groupStream{s, g.Context(s.Context())})
	}
}

type groupStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s groupStream) Context() context.Context { return s.ctx }

// watcher is a service whose stream ends at last call, and whose unary call reports whether last
// call has begun.
type watcher struct {
	healthpb.UnimplementedHealthServer
}

func (watcher) Watch(_ *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	if err := s.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
		return err
	}
	<-lastcall.UntilLastCall(s.Context()).Done()
	return s.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING})
}

func (watcher) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	status := healthpb.HealthCheckResponse_SERVING
	if _, stopping := lastcall.TimeLeft(ctx); stopping {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: status}, nil
}

func TestGRPC_StreamsHearOfLastCallAndCallsAreServedUntilTheWorkIsDone(t *testing.T) {
	g, err := lastcall.New(t.Context(), lastcall.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(unary(g)), grpc.StreamInterceptor(stream(g)))
	healthpb.RegisterHealthServer(srv, watcher{})
	if err := g.Serve("grpc", srv, l); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	if err := g.Go("work", func(context.Context) error { <-release; return nil }); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, got *healthpb.HealthCheckResponse, err error, status healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if err != nil || got.Status != status {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	answer, err := watch.Recv()
	want("the stream", answer, err, healthpb.HealthCheckResponse_SERVING)
	answer, err = client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	want("a call", answer, err, healthpb.HealthCheckResponse_SERVING)

	g.Stop(nil)
	answer, err = watch.Recv()
	want("the stream at last call", answer, err, healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := watch.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	// Work is still running, so new connections are still served.
	other, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, c := range []healthpb.HealthClient{client, healthpb.NewHealthClient(other)} {
		answer, err = c.Check(t.Context(), &healthpb.HealthCheckRequest{})
		want("a call during the stop", answer, err, healthpb.HealthCheckResponse_NOT_SERVING)
	}
	close(release)
	if r := g.Wait(); r.ExitCode() != 0 || r.Took > 5*time.Second {
		t.Errorf("%v", r)
	}
}

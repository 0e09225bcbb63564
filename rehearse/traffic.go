package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// client is a kind of client.
type client string

const (
	newConnection  client = "new connection"
	keepAlive      client = "keep-alive"
	keptHTTP2      client = "HTTP/2"
	slowRequest    client = "slow request"
	stream         client = "stream"
	webSocket      client = "WebSocket"
	openConnection client = "open connection" // TCP
)

const (
	// requestTimeout is how long a client waits for an answer.
	requestTimeout = 10 * time.Second
	// slowTimeout is the same for a request that takes long.
	slowTimeout = 2 * time.Minute
	// maxInFlight bounds the in-flight requests of new connections to a target, and maxHTTP2 those by
	// HTTP/2, which need 100 KiB each. Requests beyond that are not sent.
	maxInFlight = 1000
	maxHTTP2    = 200
	// tooLate is the lateness of this process after which a server may have timed out, if the lateness
	// is most of the time that the request took.
	tooLate = time.Second
	// drainTime is how long clients are awaited after the exit of the program.
	drainTime = time.Second
	// maxFailures bounds the failures that are kept; the others are only counted.
	maxFailures = 100_000
	// keepAlivePause is how long a client that keeps its connection waits before it asks again, and
	// idlePause the same for another one: servers treat a connection that has been idle for some
	// hundred milliseconds in another way.
	keepAlivePause = 50 * time.Millisecond
	idlePause      = 500 * time.Millisecond
	// keepAliveClients is how many clients keep their connections.
	keepAliveClients = 2
	slowRequests     = 3
	// arrivals is how often per second clients arrive, several at once if the rate is higher: a
	// process that wakes up for each of a thousand clients has no time for what it measures.
	arrivals = 200
)

// traffic is what clients send to a program. Its owner calls stop, which waits for all clients.
type traffic struct {
	targets []*target
	rate    int // to each target

	ctx     context.Context //nolint:containedctx // of all requests; stop ends it
	cancel  context.CancelFunc
	clients sync.WaitGroup
	late    lateness
	// connected is how many connections are open.
	connected atomic.Int64

	mu sync.Mutex
	// changes are the moments at which the endpoint was removed or restored, and changed is closed
	// when another one is added.
	changes []change
	changed chan struct{}
	failed  []result
	tallies map[tallied]*tally
	open    map[client]int // how many clients of each kind stay connected
	// stopping: the signal is sent. unannounced counts the keep-alive connections that the server has
	// closed since then, without announcing it in an answer or by a GOAWAY.
	stopping    bool
	unannounced map[client]int
	// Slow answers, and requests that waited long and had no answer.
	slow []result
	left map[client]int // open when the traffic ended
}

// change is a moment at which the endpoint was removed or restored.
type change struct {
	at    time.Time
	there bool
}

// tallied identifies requests that are counted together, and tally is how many of them there are.
type tallied struct {
	target *target
	client client
}

type tally struct {
	answered, failed, notSent int
	slowest                   time.Duration // of the answers before the signal
}

// slowAnswer is the least time of an answer that counts as slow.
const slowAnswer = time.Second

// noAnswer is the age at which a request that has no answer at the end of the rehearsal counts as
// failed: many a client gives up by then.
const noAnswer = 5 * time.Second

// newTraffic begins to send requests to targets.
func newTraffic(targets []*target, rate int) *traffic {
	t := &traffic{targets: targets, rate: rate, changed: make(chan struct{}), tallies: map[tallied]*tally{}, open: map[client]int{}, unannounced: map[client]int{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.clients.Go(func() { t.late.watch(t.ctx) })
	for _, one := range targets {
		t.talk(one)
	}
	return t
}

// talk runs the clients of a target, according to its scheme and its use.
func (t *traffic) talk(to *target) {
	stay := func(clients int, one func(*target)) {
		for range clients {
			t.clients.Go(func() { t.hold(to, one) })
		}
	}
	keep := func(one func(*target, time.Duration)) {
		for _, every := range [keepAliveClients]time.Duration{keepAlivePause, idlePause} {
			t.clients.Go(func() { t.hold(to, func(to *target) { one(to, every) }) })
		}
	}
	switch scheme := to.scheme; {
	case to.Use == Stream && scheme == "h2c":
		stay(1, t.oneStreamHTTP2)
	case to.Use == Stream:
		stay(1, t.oneStream)
	case to.Use == Slow: // see sendSlow
	case scheme == "ws", scheme == "wss":
		stay(keepAliveClients, t.oneWebSocket)
	case scheme == "tcp":
		t.clients.Go(func() { t.arrive(to, t.connectOnce) })
		stay(keepAliveClients, t.oneTCP)
	case scheme == "h2c", to.grpc:
		t.clients.Go(func() { t.arrive(to, t.askOnceHTTP2) })
		keep(t.oneHTTP2)
		if to.grpc {
			t.clients.Go(func() { t.hold(to.watch, t.oneStreamHTTP2) })
		}
	default:
		t.clients.Go(func() { t.arrive(to, t.askOnce) })
		keep(t.oneConnection)
		if to.offersHTTP2 {
			keep(t.oneHTTP2)
		}
	}
}

// has reports whether there is a target with a use.
func (t *traffic) has(u Use) bool {
	return slices.ContainsFunc(t.targets, func(one *target) bool { return one.Use == u })
}

// signalled records that the program receives its stop signal now.
func (t *traffic) signalled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
}

// remove takes the endpoint away: no new client connects, and those that are connected stay. The
// time is the one at which the removal was due: failures of clients that connect later do not count
// against the program.
func (t *traffic) remove(at time.Time) { t.change(change{at, false}) }

// restore brings the endpoint back.
func (t *traffic) restore(at time.Time) { t.change(change{at, true}) }

func (t *traffic) change(c change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes = append(t.changes, c)
	close(t.changed)
	t.changed = make(chan struct{})
}

// there reports whether the endpoint existed at a time.
func (t *traffic) there(when time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := true
	for _, c := range t.changes {
		if !c.at.After(when) {
			there = c.there
		}
	}
	return there
}

// isGone reports whether the endpoint is gone, or the traffic has ended.
func (t *traffic) isGone() bool { return t.ctx.Err() != nil || !t.there(time.Now()) }

// whenThere waits until the endpoint exists. It returns false if the traffic has ended.
func (t *traffic) whenThere() bool {
	for t.ctx.Err() == nil {
		t.mu.Lock()
		changed := t.changed
		t.mu.Unlock()
		if t.there(time.Now()) {
			return true
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
		}
	}
	return false
}

// stop ends what is still in flight, and waits for it.
func (t *traffic) stop() {
	t.mu.Lock()
	if t.left == nil {
		t.left = maps.Clone(t.open)
	}
	t.mu.Unlock()
	t.cancel()
	t.clients.Wait()
}

// drain waits until no client is connected any more to a program that has exited: then the outcome
// of each is known. It does not wait for clients of a process that the program has left behind.
func (t *traffic) drain(ctx context.Context) {
	begun := time.Now()
	for t.connected.Load() > 0 && time.Since(begun)-t.late.since(begun) < drainTime && pause(ctx, watchOver) {
	}
}

// arrive lets clients arrive at the rate while the endpoint exists, each with a connection of its
// own, however long the earlier ones take. Clients that could not arrive because this process had
// no processor do not come later, all at once.
func (t *traffic) arrive(to *target, ask func(*target)) {
	every := max(time.Second/time.Duration(t.rate), time.Second/arrivals)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	most := maxInFlight
	if to.scheme == "h2c" || to.grpc {
		most = maxHTTP2
	}
	places := make(chan struct{}, most)
	for due := 0.0; ; {
		select {
		case <-ticker.C:
		case <-t.ctx.Done():
			return
		}
		if t.isGone() {
			continue
		}
		for due += float64(t.rate) * every.Seconds(); due >= 1-1e-9; due-- {
			select {
			case places <- struct{}{}:
				t.clients.Go(func() {
					defer func() { <-places }()
					ask(to)
				})
			default:
				t.add(to, newConnection, time.Now(), errTooMany, 0)
			}
		}
	}
}

// errTooMany is why a request was not sent: a server that answers none of the requests in flight is
// already failed by those.
var errTooMany = errors.New("too many requests are under way")

// add records how a request ended; the status counts when there is no error. A request that was cut
// by the end of the rehearsal is no failure, and neither is one that this process could not send.
func (t *traffic) add(to *target, as client, begun time.Time, err error, status int) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	count := t.tallies[tallied{to, as}]
	if count == nil {
		count = &tally{}
		t.tallies[tallied{to, as}] = count
	}
	failed := result{target: to, client: as, begun: begun, end: now}
	late := t.late.since(begun)
	failed.took = now.Sub(begun) - late
	asks := as == newConnection || as == keepAlive || as == keptHTTP2
	isSlow := func() {
		if asks && failed.took > slowAnswer && len(t.slow) < maxFailures {
			t.slow = append(t.slow, failed)
		}
	}
	switch {
	case err != nil && t.ctx.Err() != nil && asks && failed.took > noAnswer:
		failed.failure, failed.text = timedOut, fmt.Sprintf("no answer after %.1f s, when the rehearsal ended", failed.took.Seconds())
	case err != nil && t.ctx.Err() != nil:
		isSlow()
		return
	case err != nil && isOurs(err), err != nil && asks && late > tooLate && late > failed.took:
		count.notSent++
		return
	case err != nil:
		failed.failure, failed.text = classify(err), err.Error()
	case status >= http.StatusInternalServerError:
		failed.failure, failed.text = serverSaid, fmt.Sprintf("%d %s", status, http.StatusText(status))
	default:
		isSlow()
		if count.answered++; !t.stopping {
			count.slowest = max(count.slowest, failed.took)
		}
		return
	}
	if failed.failure == timedOut { // every other failure is judged as such
		isSlow()
	}
	if count.failed++; len(t.failed) < maxFailures {
		t.failed = append(t.failed, failed)
	}
}

// had reports whether clients of a kind have had an answer.
func (t *traffic) had(as client) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for who, count := range t.tallies {
		if who.client == as && count.answered > 0 {
			return true
		}
	}
	return false
}

// counts returns the requests of all clients.
func (t *traffic) counts() (all tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.tallies {
		all.answered += one.answered
		all.failed += one.failed
		all.notSent += one.notSent
	}
	return all
}

// byClient returns the counts for each target and kind of client, in the order of the targets.
func (t *traffic) byClient() (all []Clients) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, to := range t.targets {
		for _, who := range []client{newConnection, keepAlive, keptHTTP2, slowRequest, stream, webSocket, openConnection} {
			one := t.tallies[tallied{to, who}]
			if to.watch != nil && who == stream {
				one = t.tallies[tallied{to.watch, who}]
			}
			if one != nil {
				all = append(all, Clients{Target: to.String(), Client: string(who), Answered: one.answered, Failed: one.failed})
			}
		}
	}
	return all
}

// pause waits, and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package rehearse

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Target is something that clients ask the program for.
type Target struct {
	// URL is the address. Its scheme decides how clients talk to it:
	//
	//	http, https  requests of HTTP/1.1, and of HTTP/2 too where the server offers it in TLS
	//	h2c          requests of HTTP/2 without TLS
	//	ws, wss      a WebSocket, on which clients stay connected and say nothing
	//	grpc, grpcs  questions of the gRPC health protocol for the service that the path names, and its
	//	             Watch, which is a stream
	//	tcp          connections, some of which stay
	//
	// A certificate is not verified on loopback.
	URL string
	// Use is what clients do with the target.
	Use Use
	// Method is the method of the requests, GET if it is empty. Header and Body are sent with each.
	// For tcp, Body is what a client sends first, before it waits for an answer.
	Method string
	Header http.Header
	Body   string
	// Answer is what a right answer begins with, for tcp. If it is empty, any byte is an answer to
	// Body, also the first one of an error: only Answer tells them apart.
	Answer string
}

// Use is what clients do with a target.
type Use string

const (
	// Ask: clients connect at Config.Rate, each for one request. Some of them keep their connections
	// and ask again and again. The program is ready when each such target answers.
	Ask Use = ""
	// Slow: three requests, which take a second or more to answer, are in flight when the stop signal
	// is sent.
	Slow Use = "slow"
	// Stream: the answer has no end, as with Server-Sent Events. A client reads it, and asks again
	// when it has ended.
	Stream Use = "stream"
)

// target is a Target that has been checked.
type target struct {
	Target
	scheme string
	url    *url.URL // of the requests
	addr   string   // host and port to connect to

	tls, tls2   *tls.Config // for HTTP/1.1 and HTTP/2, nil without TLS
	offersHTTP2 bool        // the https server has offered it
	grpc        bool
	watch       *target // the gRPC stream
	once        []byte  // an HTTP/1.1 request that closes its connection
	more        []byte  // an HTTP/1.1 request that keeps its connection
	// asked is the request that an answer is parsed as the response to.
	asked *http.Request
}

// schemes maps each scheme to what clients may do with it.
var schemes = map[string][]Use{
	"http":  {Ask, Slow, Stream},
	"https": {Ask, Slow, Stream},
	"h2c":   {Ask, Slow, Stream},
	"grpc":  {Ask},
	"grpcs": {Ask},
	"ws":    {Ask},
	"wss":   {Ask},
	"tcp":   {Ask},
}

// newTarget checks a target. One outside this machine's loopback needs anyHost.
func newTarget(t Target, anyHost bool) (*target, error) {
	u, err := url.Parse(t.URL)
	if err != nil || schemes[u.Scheme] == nil || u.Port() == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("rehearse: %q is no address like http://127.0.0.1:8080/path", t.URL)
	}
	if !slices.Contains(schemes[u.Scheme], t.Use) {
		return nil, fmt.Errorf("rehearse: %s: clients of %s know no %q", t.URL, u.Scheme, t.Use)
	}
	if t.Answer != "" && u.Scheme != "tcp" {
		return nil, fmt.Errorf("rehearse: %s: Answer is for tcp, and the answers of %s have a status", t.URL, u.Scheme)
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if !anyHost && !loopback {
		return nil, fmt.Errorf("rehearse: %s is not this machine's loopback: the traffic of a rehearsal is for the program that it has started", u.Host)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	one := &target{Target: t, scheme: u.Scheme, url: u, addr: u.Host}
	if one.Method == "" {
		one.Method = http.MethodGet
	}
	one.asked = &http.Request{Method: one.Method}
	if slices.Contains([]string{"https", "wss", "grpcs"}, u.Scheme) {
		one.tls, one.tls2 = secure(u.Hostname(), loopback, "http/1.1"), secure(u.Hostname(), loopback, protocolHTTP2)
	}
	if u.Scheme = "http"; one.tls != nil {
		u.Scheme = "https"
	}
	if one.scheme == "grpc" || one.scheme == "grpcs" {
		one.beGRPC()
	}
	if one.more, err = one.request(false); err != nil {
		return nil, err
	}
	one.once, err = one.request(true)
	return one, err
}

// secure returns the TLS configuration for one protocol.
func secure(host string, loopback bool, protocol string) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		NextProtos:         []string{protocol},
		InsecureSkipVerify: loopback, //nolint:gosec // the certificate is for the program's name in production
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
}

// request returns the bytes of a request.
func (t *target) request(last bool) ([]byte, error) {
	req, err := t.newRequest(context.Background())
	if err != nil {
		return nil, err
	}
	req.Close = last
	var text bytes.Buffer
	if err := req.Write(&text); err != nil {
		return nil, fmt.Errorf("rehearse: a request for %s: %w", t.URL, err)
	}
	return text.Bytes(), nil
}

// newRequest returns a request of package net/http.
func (t *target) newRequest(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, t.Method, t.url.String(), strings.NewReader(t.Body))
	if err != nil {
		return nil, fmt.Errorf("rehearse: a request for %s: %w", t.URL, err)
	}
	req.Header = t.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "lastcall-rehearse")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// String returns the name of the target in a report.
func (t *target) String() string { return t.URL }

// answers asks once and returns what the answer was. An error means that the program is not ready.
func (t *target) answers(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	one := &traffic{ctx: ctx}
	if t.scheme == "h2c" || t.grpc {
		return t.answersHTTP2(ctx, one)
	}
	if t.scheme == "https" {
		both := t.tls.Clone()
		both.NextProtos = []string{protocolHTTP2, "http/1.1"}
		w, err := one.dialWith(t, both)
		if err != nil {
			return "", err
		}
		t.offersHTTP2 = w.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == protocolHTTP2
		w.close()
	}
	w, err := one.dial(t)
	if err != nil {
		return "", err
	}
	defer w.close()
	w.begin(time.Second)
	switch t.scheme {
	case "tcp":
		return "it accepts connections", w.greet(t)
	case "ws", "wss":
		return "a WebSocket", w.upgrade(ctx, t)
	}
	status, _, err := w.exchange(t, t.once)
	return t.verdict(status, err)
}

// verdict describes an answer.
func (t *target) verdict(status int, err error) (string, error) {
	if err == nil && status >= http.StatusInternalServerError {
		err = fmt.Errorf("it answers %d", status)
	}
	return fmt.Sprintf("%s %s %d", t.Method, t.url.RequestURI(), status), err
}

// answersHTTP2 is answers over HTTP/2.
func (t *target) answersHTTP2(ctx context.Context, one *traffic) (string, error) {
	h, err := one.dialHTTP2(t, 0)
	if err != nil {
		return "", err
	}
	defer h.close()
	status, err := h.ask(ctx, one, t, time.Second)
	return t.verdict(status, err)
}

// answers asks each target that clients Ask once, and returns what the answers were.
func answers(ctx context.Context, targets []*target) (string, error) {
	var all []string
	for _, one := range targets {
		if one.Use != Ask {
			continue
		}
		said, err := one.answers(ctx)
		if err != nil {
			return "", fmt.Errorf("%s: %w", one, err)
		}
		all = append(all, said)
	}
	return strings.Join(all, ", "), nil
}

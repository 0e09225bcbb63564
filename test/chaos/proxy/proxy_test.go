package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// script is a proxy with a server that the test plays itself.
type script struct {
	*testing.T
	*Proxy
	server net.Listener
}

func newScript(t *testing.T) *script {
	t.Helper()
	before := runtime.NumGoroutine()
	dir, err := os.MkdirTemp("", "chaos-proxy-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	s := &script{T: t, Proxy: New(dir), server: l}
	s.Lead(l.Addr().String())
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), l.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
		// A goroutine that has returned disappears a moment later.
		for late := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(late) {
				t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
				break
			}
		}
	})
	return s
}

// dial connects a process.
func (s *script) dial(name string) net.Conn {
	s.Helper()
	f, err := s.Front(name)
	if err != nil {
		s.Fatal(err)
	}
	c, err := net.Dial(f.listener.Addr().Network(), f.listener.Addr().String())
	if err != nil {
		s.Fatal(err)
	}
	s.within(c)
	return c
}

// within bounds a connection by the test, so that it ends long before the test's time limit.
func (s *script) within(c net.Conn) {
	s.Helper()
	s.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.Fatal(err)
	}
}

// startup is the first message of a client.
var startup = packet(0, binary.BigEndian.AppendUint32(nil, 3<<16), []byte("user\x00u\x00\x00"))

// packet encodes a message. Kind 0 is for a client's first message.
func packet(kind byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body))+4)
	if kind != 0 {
		out = append([]byte{kind}, out...)
	}
	return append(out, body...)
}

func tag(s string) []byte { return packet('C', []byte(s+"\x00")) }

func ready(status string) []byte { return packet('Z', []byte(status)) }

// pair connects a process, and returns both ends, after the startup message.
func (s *script) pair(name string) (client, server net.Conn) {
	s.Helper()
	client = s.dial(name)
	s.write(client, startup)
	return client, s.accepted(startup)
}

// accepted returns the next connection that reaches the server, which must begin with the given
// bytes.
func (s *script) accepted(begins []byte) net.Conn {
	s.Helper()
	c, err := s.server.Accept()
	if err != nil {
		s.Fatal(err)
	}
	s.within(c)
	s.reads(c, begins)
	return c
}

func (s *script) write(c net.Conn, data []byte) {
	s.Helper()
	if _, err := c.Write(data); err != nil {
		s.Fatal(err)
	}
}

// reads checks that the given bytes arrive next.
func (s *script) reads(c net.Conn, want []byte) {
	s.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		s.Fatalf("read %q, %v, want %q", got[:n], err, want)
	}
}

// ends checks that the given bytes arrive, and then the end of the connection.
func (s *script) ends(c net.Conn, want string) {
	s.Helper()
	got, err := io.ReadAll(c)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) || string(got) != want {
		s.Fatalf("read %q, %v, want %q and the end", got, err, want)
	}
}

// nothing checks that nothing arrives.
func (s *script) nothing(c net.Conn) {
	s.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		s.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		s.Fatalf("read %d bytes, %v, want nothing", n, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.Fatal(err)
	}
}

func TestProxy_CarriesWhatBothSidesSendAndTheirEnd(t *testing.T) {
	s := newScript(t)
	client, server := s.pair("a")
	s.write(client, []byte("question"))
	s.reads(server, []byte("question"))
	s.write(server, ready("I"))
	s.reads(client, ready("I"))
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.write(server, tag("SELECT 1"))
	_ = server.Close()
	s.ends(client, string(tag("SELECT 1")))

	client, server = s.pair("a")
	s.write(client, []byte("bye"))
	_ = client.Close()
	s.ends(server, "bye")
}

func TestProxy_RefusesEncryptionItself(t *testing.T) {
	s := newScript(t)
	client := s.dial("a")
	for _, code := range []uint32{gssRequest, sslRequest} {
		s.write(client, packet(0, binary.BigEndian.AppendUint32(nil, code)))
		s.reads(client, []byte("N"))
	}
	s.write(client, startup)
	s.accepted(startup)
}

func TestProxy_CutsAtAnyByte(t *testing.T) {
	s := newScript(t)
	answer := string(tag("INSERT 0 1")) + string(ready("I"))
	for n := range len(answer) + 1 {
		end := s.CutAfter(func() (Direction, int64) { return ToClient, int64(n) })
		client, server := s.pair("a")
		s.write(server, []byte(answer))
		s.ends(client, answer[:n])
		s.ends(server, "")
		if got := end(); got != 1 {
			t.Fatalf("after %d bytes: %d were cut", n, got)
		}
	}
	question := string(startup) + "question"
	for n := range len(question) + 1 {
		end := s.CutAfter(func() (Direction, int64) { return ToServer, int64(n) })
		client := s.dial("a")
		s.write(client, []byte(question))
		server, err := s.server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.within(server)
		s.ends(server, question[:n])
		s.ends(client, "")
		end()
	}
}

func TestCutAfter_CountsForConnectionsThatExistFromItsBegin(t *testing.T) {
	s := newScript(t)
	client, server := s.pair("a")
	s.write(client, []byte("before"))
	s.reads(server, []byte("before"))
	end := s.CutAfter(func() (Direction, int64) { return ToServer, 4 })
	s.write(client, []byte("af"))
	s.reads(server, []byte("af"))
	s.write(client, []byte("terwards"))
	s.ends(server, "te")
	if end() != 1 {
		t.Error("none was counted")
	}
	client, server = s.pair("a")
	s.write(client, []byte("a long question"))
	s.reads(server, []byte("a long question"))
}

func TestFront_AFaultHitsTheVictimsAlone(t *testing.T) {
	s := newScript(t)
	victim, victims := s.pair("victim")
	other, others := s.pair("other")
	if n := s.Cut("victim", "nobody"); n != 1 {
		t.Errorf("cut %d", n)
	}
	s.ends(victim, "")
	s.ends(victims, "")
	s.write(other, []byte("question"))
	s.reads(others, []byte("question"))

	end := s.Refuse("victim")
	s.ends(s.dial("victim"), "")
	s.pair("other")
	if n := end(); n != 1 {
		t.Errorf("refused %d", n)
	}
	s.pair("victim")
	if n := s.Cut(); n != 3 {
		t.Errorf("cut %d of all", n)
	}
}

func TestBlackHole_KeepsBackOneDirectionAlsoTheEnd(t *testing.T) {
	s := newScript(t)
	client, server := s.pair("a")
	end := s.BlackHole(true, false)
	s.write(client, []byte("a claim that comes late"))
	s.nothing(server)
	s.write(server, ready("I")) // the other direction works
	s.reads(client, ready("I"))
	_ = client.Close()
	s.nothing(server)
	s.write(server, ready("I")) // no client is there any more
	s.nothing(server)
	if n := end(); n == 0 {
		t.Error("nothing was counted")
	}
	s.ends(server, "a claim that comes late")
}

func TestBlackHole_NewConnectionsBeginWhenItIsOver(t *testing.T) {
	s := newScript(t)
	end := s.BlackHole(true, true)
	client := s.dial("a")
	s.write(client, startup)
	s.nothing(client)
	end()
	s.accepted(startup)

	s.BlackHole(true, true)
	s.write(client, []byte("lost"))
	s.Cut()
	s.ends(client, "")
}

func TestDelay_EachDirectionHasItsOwn(t *testing.T) {
	s := newScript(t)
	client, server := s.pair("a")
	const there, back = 30 * time.Millisecond, 60 * time.Millisecond
	end := s.Delay(there, back)
	began := time.Now()
	s.write(client, []byte("question"))
	s.reads(server, []byte("question"))
	if took := time.Since(began); took < there {
		t.Errorf("there: %v", took)
	}
	began = time.Now()
	s.write(server, ready("I"))
	s.write(server, ready("T"))
	s.reads(client, ready("I"))
	s.reads(client, ready("T"))
	if took := time.Since(began); took < back || took > 2*back+time.Second {
		t.Errorf("back: %v", took)
	}
	end()
	s.write(server, ready("I"))
	s.reads(client, ready("I"))
}

func TestLoseAnswers_CutsWhenTheServerHasCommitted(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer [][]byte
		lost   bool
		before string // what the client still receives
	}{
		{"a commit", [][]byte{tag("COMMIT"), ready("I")}, true, ""},
		{"a statement alone", [][]byte{packet('D', []byte("row")), tag("INSERT 0 1"), ready("I")}, true, string(packet('D', []byte("row")))},
		{"several", [][]byte{tag("INSERT 0 1"), tag("COMMIT"), ready("I")}, true, ""},
		{"in a transaction", [][]byte{tag("INSERT 0 1"), ready("T")}, false, ""},
		{"a rollback", [][]byte{tag("ROLLBACK"), ready("I")}, false, ""},
		{"an error", [][]byte{tag("INSERT 0 1"), packet('E', []byte("SERROR\x00\x00")), ready("I")}, false, ""},
		{"a setting", [][]byte{tag("SET"), ready("I")}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			client, server := s.pair("a")
			end := s.LoseAnswers(1)
			whole := string(bytes.Join(c.answer, nil))
			for _, b := range []byte(whole) { // byte by byte
				s.write(server, []byte{b})
			}
			if c.lost {
				s.ends(client, c.before)
				s.ends(server, "")
			} else {
				s.reads(client, []byte(whole))
			}
			if n := end(); (n == 1) != c.lost {
				t.Errorf("%d were lost", n)
			}
		})
	}
}

func TestLoseAnswers_LosesAsManyAsItWasAsked(t *testing.T) {
	s := newScript(t)
	end := s.LoseAnswers(2)
	for range 2 {
		client, server := s.pair("a")
		s.write(server, append(tag("COMMIT"), ready("I")...))
		s.ends(client, "")
	}
	client, server := s.pair("a")
	s.write(server, append(tag("COMMIT"), ready("I")...))
	s.reads(client, append(tag("COMMIT"), ready("I")...))
	if n := end(); n != 2 {
		t.Errorf("%d were lost", n)
	}
}

func TestLoseAnswers_WhatAServerSaysThatIsNoneGoesThrough(t *testing.T) {
	s := newScript(t)
	s.LoseAnswers(1)
	client, server := s.pair("a")
	text := strings.Repeat("no protocol at all", 100)
	s.write(server, []byte(text))
	_ = server.Close()
	s.ends(client, text)

	client, server = s.pair("a")
	s.write(server, tag("COMMIT")) // and then it crashes
	_ = server.Close()
	s.ends(client, string(tag("COMMIT")))
}

func TestLoseCancels_TakesTheRequest(t *testing.T) {
	s := newScript(t)
	request := packet(0, binary.BigEndian.AppendUint32(nil, cancelRequest), []byte("process!"))
	s.write(s.dial("a"), request)
	s.accepted(request)
	end := s.LoseCancels("a")
	client := s.dial("a")
	s.write(client, request)
	s.ends(client, "")
	if n := end(); n != 1 {
		t.Errorf("%d were lost", n)
	}
	s.pair("a") // the request did not reach the server before
}

func TestLead_NewConnectionsGoWhereItLeads(t *testing.T) {
	s := newScript(t)
	s.Lead("")
	client := s.dial("a")
	s.write(client, startup)
	s.ends(client, "")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	s.Lead(tcp.Addr().String())
	s.write(s.dial("a"), startup)
	server, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.within(server)
	s.reads(server, startup)
}

func TestClose_LeavesNothingThatAFaultHoldsUp(t *testing.T) {
	s := newScript(t)
	client, _ := s.pair("a")
	s.BlackHole(true, true)
	s.Delay(time.Hour, time.Hour)
	s.write(client, bytes.Repeat([]byte("x"), 1<<16))
	idle := s.dial("b")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s.ends(client, "")
	s.ends(idle, "")
	if _, err := s.Front("c"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an entrance afterwards: %v", err)
	}
}

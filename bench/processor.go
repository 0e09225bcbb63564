package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clocked runs f, which does n operations. It returns the operations per second and the processor
// time of each.
func clocked(db database, n int, f func() error) (figures, error) {
	self, others, err := processorTime(db.pid)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	selfNow, othersNow, err := processorTime(db.pid)
	if err != nil {
		return nil, err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	found := figures{perSecond: float64(n) / took.Seconds(), processor: each(selfNow - self + othersNow - others)}
	if db.pid != 0 {
		found[ofTheWorker], found[ofTheServer] = each(selfNow-self), each(othersNow-others)
	}
	return found, nil
}

// processorTime returns the processor time of this process and of a server, if there is one. Where
// other programs use the machine too, it is a steadier figure than elapsed time.
func processorTime(server int) (self, others time.Duration, err error) {
	if self, err = ticks(os.Getpid(), false); err != nil || server == 0 {
		return self, 0, err
	}
	if others, err = ticks(server, true); err != nil {
		return 0, 0, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := statOf(pid)
		if err != nil || stat[1] != strconv.Itoa(server) { // gone, or another server's process
			continue
		}
		if t, err := ticks(pid, false); err == nil {
			others += t
		}
	}
	return self, others, nil
}

// statOf returns the fields of /proc/PID/stat after the command's name: state, parent and so on.
func statOf(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])), nil
}

// ticks returns the processor time of a process. With children it includes the children that the
// process has waited for.
func ticks(pid int, children bool) (time.Duration, error) {
	stat, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	sum := 0
	fields := stat[11:13] // utime, stime
	if children {
		fields = stat[11:15] // and cutime, cstime
	}
	for _, f := range fields {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil // 100 a second (man 5 proc)
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc, which Linux has fixed for programs.
const tick = 10 * time.Millisecond

// processorTimes are what processes have used so far, by their names.
func processorTimes(processes map[string]int) (map[string]time.Duration, error) {
	times := map[string]time.Duration{}
	for name, pid := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil, fmt.Errorf("read the processor time of %s: %w", name, err)
		}
		// The second field, in parentheses, may hold blanks; utime and stime are the 14th and 15th.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("read the processor time of %s: %w", name, err)
		}
		times[name] = time.Duration(user+system) * tick
	}
	return times, nil
}

// residentBytes is the memory of a process.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

package job

import "time"

// maxWait is how long a request waits for a refresh while there is an older answer that may still be used.
const maxWait = time.Second

// use is what may be done with an answer that is in memory.
type use int

const (
	// unusable: the answer is too old, or its token has ended. The source has to be asked first.
	unusable use = iota
	// serve: the answer is used as it is.
	serve
	// serveAndRefresh: the answer is used, and a refresh starts that no request waits for.
	serveAndRefresh
	// refreshFirst: a refresh is waited for, at most maxWait; then the answer serves as stale.
	refreshFirst
)

// freshness are the bounds that an answer is judged by.
type freshness struct{ freshFor, staleFor time.Duration }

// judge decides from an answer's age alone, so every case is a row of a table. An outdated answer was made under
// another configuration: it may serve only where the source cannot be asked in time.
func (f freshness) judge(age time.Duration, outdated bool) use {
	switch {
	case age >= f.freshFor+f.staleFor:
		return unusable
	case age >= f.freshFor || outdated:
		return refreshFirst
	case age >= f.freshFor/5*4:
		return serveAndRefresh
	default:
		return serve
	}
}

// pauseAfterTrouble is how long a known job is not asked about again after its source could not tell. A fifth of the
// freshness is the stretch in which a refresh runs ahead: often enough to notice that GitLab is back, and seldom enough
// not to hold it down. A source may ask for more.
func (f freshness) pauseAfterTrouble(wish time.Duration) time.Duration {
	return max(min(wish, maxPause), f.freshFor/5)
}

package gitlabtest

import (
	"fmt"
	"slices"
	"strings"
)

// state is one Instance made ready to answer from. It never changes after it was built: a request works on the state it
// found, and Update puts a new one in its place.
type state struct {
	instance Instance
	release  release
	mint     *tokenMint

	groups         map[int64]*Group
	groupsByPath   map[string]*Group // in lower case, as below
	projects       map[int64]*Project
	projectsByPath map[string]*Project
	users          map[int64]*User
	jobs           map[int64]*Job
	jobsByToken    map[string]*Job // without JWTs, which are read and not looked up
	accessTokens   map[string]*AccessToken
	grants         grants
	configs        map[string]*ciAccess // by text, so that an update parses only what is new
}

// newState takes ownership of the Instance. previous is the state that it replaces, or nil.
func newState(w Instance, mint *tokenMint, previous *state) (*state, error) {
	st := &state{
		instance: w, mint: mint,
		groups: map[int64]*Group{}, groupsByPath: map[string]*Group{},
		projects: map[int64]*Project{}, projectsByPath: map[string]*Project{},
		users: map[int64]*User{}, jobs: make(map[int64]*Job, len(w.Jobs)),
		jobsByToken:  make(map[string]*Job, len(w.Jobs)),
		accessTokens: map[string]*AccessToken{}, configs: map[string]*ciAccess{},
		grants: grants{
			projects: map[int64][]authorization{}, groups: map[int64][]authorization{}, implicit: map[int64][]authorization{},
		},
	}
	var err error
	if st.release, err = parseRelease(st.instance.Settings.Release); err != nil {
		return nil, err
	}
	if err := complete(&st.instance, st.release, mint); err != nil {
		return nil, err
	}
	if err := validate(&st.instance); err != nil {
		return nil, err
	}
	st.index()
	var known map[string]*ciAccess
	if previous != nil {
		if err := st.follows(previous); err != nil {
			return nil, err
		}
		known = previous.configs
	}
	if err := st.refreshAgents(known); err != nil {
		return nil, err
	}
	return st, nil
}

func (st *state) index() {
	w := &st.instance
	for i := range w.Groups {
		st.groups[w.Groups[i].ID], st.groupsByPath[strings.ToLower(w.Groups[i].Path)] = &w.Groups[i], &w.Groups[i]
	}
	for i := range w.Projects {
		st.projects[w.Projects[i].ID], st.projectsByPath[strings.ToLower(w.Projects[i].Path)] = &w.Projects[i], &w.Projects[i]
	}
	for i := range w.Users {
		st.users[w.Users[i].ID] = &w.Users[i]
	}
	for i := range w.Jobs {
		j := &w.Jobs[i]
		st.jobs[j.ID] = j
		if j.TokenFormat != formatJWT {
			st.jobsByToken[j.Token] = j
		}
	}
	for i := range w.Tokens {
		st.accessTokens[w.Tokens[i].Token] = &w.Tokens[i]
	}
}

// follows refuses a change that a running GitLab cannot make.
func (st *state) follows(previous *state) error {
	for id, job := range st.jobs {
		before := previous.jobs[id]
		if before != nil && job.TokenFormat == formatJWT && job.Token == before.Token &&
			!job.TokenExpires.Equal(before.TokenExpires) {
			return fmt.Errorf("job %d: %w", id, errJWTChanged)
		}
	}
	return nil
}

func (st *state) refreshAgents(known map[string]*ciAccess) error {
	for i := range st.instance.Agents {
		agent := &st.instance.Agents[i]
		access := known[agent.Config]
		if access == nil {
			var err error
			if access, err = parseCIAccess(agent.Config); err != nil {
				return fmt.Errorf("agent %d: %w", agent.ID, err)
			}
		}
		st.configs[agent.Config] = access
		st.refresh(agent, access)
	}
	return nil
}

// environment is the job's persisted environment, whatever the job does with it, or nil.
func (st *state) environment(j *Job) *Environment {
	if j.Environment == "" {
		return nil
	}
	return st.projects[j.Project].Environment(j.Environment)
}

// protectsEnvironment: there are no protected environments without a licence.
func (st *state) protectsEnvironment(p *Project, name string) bool {
	return st.instance.Settings.Licensed && slices.Contains(p.ProtectedEnvironments, name)
}

// facts are what the filters judge the job by at this moment.
func (st *state) facts(j *Job) jobFacts {
	facts := jobFacts{protectedRef: st.projects[j.Project].protectedRef(j.Pipeline)}
	if e := st.environment(j); e != nil {
		facts.environment = e.Name
	}
	return facts
}

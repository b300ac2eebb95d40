-- Asks for the paths in the file BENCH_PATHS, one after the other, again and again; all are to be answered with 4xx.
local requests, last = {}, 0

function init()
  for path in io.lines(os.getenv("BENCH_PATHS")) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local wrong = summary.requests - errors.status
  io.write(string.format("BENCH %d %d %d\n", summary.requests, wrong + broken, summary.duration))
end

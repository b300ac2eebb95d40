-- Whole drops: a form with BENCH_SIZE bytes to BENCH_PATH, its link, and the link again, which must be gone.
-- To be run with as many threads as connections: then each thread is one client, and its answers come in order.
local path, size = os.getenv("BENCH_PATH"), tonumber(os.getenv("BENCH_SIZE"))
local mark = "filedrop-bench-d74496d66958873e"
local form = table.concat({
  "--" .. mark, 'Content-Disposition: form-data; name="file"; filename="a.bin"',
  "Content-Type: application/octet-stream", "", string.rep("x", size), "--" .. mark .. "--", "",
}, "\r\n")
local upload, fetch
local step = "upload"
local clients = {}
right, wrong = 0, 0

function setup(thread)
  clients[#clients + 1] = thread
end

function init()
  upload = wrk.format("PUT", path, { ["Content-Type"] = "multipart/form-data; boundary=" .. mark }, form)
end

function request()
  return step == "upload" and upload or fetch
end

local function judge(as_it_must_be, follows)
  if as_it_must_be then
    right, step = right + 1, follows
  else
    wrong, step = wrong + 1, "upload"
  end
end

function response(status, _, body)
  if step == "upload" then
    local link = status == 201 and body:match('https?://[^/"]+(/[^"%s]+)')
    if link then fetch = wrk.format("GET", link) end
    judge(link, "download")
  elseif step == "download" then
    judge(status == 200 and #body == size, "gone")
  else
    judge(status == 410, "upload")
  end
end

-- Told are answers, three to a drop.
function done(summary)
  local good, bad, errors = 0, 0, summary.errors
  for _, client in ipairs(clients) do
    good, bad = good + client:get("right"), bad + client:get("wrong")
  end
  bad = bad + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("BENCH %d %d %d\n", good, bad, summary.duration))
end

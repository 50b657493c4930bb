-- wrk: signed deliveries that differ in their id alone. BENCH_DIR holds `body` and `signature`.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

local function read(name)
   local file = assert(io.open(os.getenv("BENCH_DIR") .. "/" .. name, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local before, after, sent

function init(args)
   local body = read("body")
   before = "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      .. "X-GitHub-Event: push\r\nX-Hub-Signature-256: " .. read("signature")
      .. "\r\nContent-Length: " .. #body
      .. "\r\nX-GitHub-Delivery: wrk-" .. os.time() .. "-" .. number .. "-"
   after = "\r\n\r\n" .. body
   sent = 0
end

function request()
   sent = sent + 1
   return before .. sent .. after
end

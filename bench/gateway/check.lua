-- Questions to `/v1/check`. Arguments: the operation, and how many questions a body has.
local keys, operation, batch = 10000, "open", 1
function init(args)
  operation, batch = args[1], tonumber(args[2])
  if operation == "closed" then keys = 500 end
end
local function question()
  return '{"attributes":{"operation":"' .. operation .. '","key":"key-' .. math.random(keys) .. '","tenant":"tenant-' .. math.random(10) .. '"}}'
end
request = function()
  if batch == 1 then return wrk.format("POST", nil, nil, question()) end
  local questions = {}
  for index = 1, batch do questions[index] = question() end
  return wrk.format("POST", nil, nil, "[" .. table.concat(questions, ",") .. "]")
end
